import Bus
import CoreMetrics
import Logging
import NIOCore
import Network
import SMTP

/// Answers `DELIVER` on `run/relay.sock` (docs/protocols.md, "deliver.sock and relay.sock").
final class RelayService: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    private let relay: Relay
    private let queue: CInt
    private let logger: Logger
    private let counters: [ReplyKind: Counter] = [
        .ok: Counter(label: "relayed"), .defer: Counter(label: "deferred"), .reject: Counter(label: "rejected"),
    ]

    /// - Parameter queue: a descriptor of `spool/queue`.
    init(relay: Relay, queue: CInt, logger: Logger) {
        self.relay = relay
        self.queue = queue
        self.logger = logger
    }

    /// Serves queue-manager. When its connection ends, or the daemon does, what waits for the answer to a whole message
    /// still gets it, and everything else stops.
    func serve(_ connection: Connection) async {
        let requests = RequestsInFlight()
        await BusServer.serve(connection, logger: logger) { frame, connection in
            self.answer(frame, connection, requests)
        }
        await requests.abandon()
    }

    /// Starts to work on a request; the replies follow when they are known.
    private func answer(_ frame: Frame, _ connection: Connection, _ requests: RequestsInFlight) {
        guard frame.verb == "DELIVER" else {
            connection.write(Frame.reply(.reject, status: "5.5.1", text: "unknown verb", tag: frame["tag"]))
            return
        }
        var request: DeliveryRequest
        do {
            request = try Self.request(frame, queue: queue)
        } catch {
            logger.error("request refused", metadata: ["id": "\(frame["id"] ?? "")", "reason": "\(error.text)"])
            connection.write(Frame.reply(.defer, status: error.status, text: error.text, tag: frame["tag"]))
            return
        }
        request.isAbandoned = { requests.areAbandoned }
        requests.begin()
        Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { [self, request] in
            defer { requests.end() }
            let outcomes = await relay.deliver(request)
            for (recipient, outcome) in zip(frame.all("recipient"), outcomes) where outcome != .interrupted {
                log(request, recipient, outcome)
                counters[outcome.kind]?.increment()
                connection.write(Self.reply(recipient, outcome, tag: frame["tag"]))
            }
            try? await connection.flush()
        }
    }

    private struct Malformed: Error {
        let status: String
        let text: String
    }

    private static func request(_ frame: Frame, queue: CInt) throws(Malformed) -> DeliveryRequest {
        guard let destination = frame["destination"], let name = frame["file"], let offset = frame.integer("offset"),
            let octets = frame.integer("octets"), let sender = frame["sender"],
            let sender = try? EnvelopeSender(parsing: sender.utf8)
        else { throw Malformed(status: "4.3.0", text: "malformed request") }
        let texts = frame.all("recipient")
        let recipients = texts.compactMap { try? EnvelopeRecipient(parsing: $0.utf8) }
        guard !recipients.isEmpty, recipients.count == texts.count else {
            throw Malformed(status: "4.3.0", text: "malformed recipient")
        }
        do {
            let file = try MessageFile.open(name, in: queue, offset: offset, octets: octets)
            return DeliveryRequest(
                id: frame["id"] ?? "",
                destination: destination,
                sender: sender,
                recipients: recipients,
                file: file
            )
        } catch {
            throw Malformed(status: "4.3.0", text: "cannot open \(name): \(error)")
        }
    }

    private static func reply(_ recipient: String, _ outcome: Outcome, tag: String?) -> Frame {
        var fields = [Frame.Field("recipient", recipient)]
        if let remote = outcome.remote { fields.append(.init("remote", remote)) }
        if let diagnostic = outcome.diagnostic { fields.append(.init("diagnostic", diagnostic)) }
        return .reply(outcome.kind, status: outcome.status.description, text: outcome.text, tag: tag, fields)
    }

    private func log(_ request: DeliveryRequest, _ recipient: String, _ outcome: Outcome) {
        var metadata: Logger.Metadata = [
            "id": "\(request.id)", "recipient": "\(recipient)", "result": "\(outcome.kind.rawValue)",
            "status": "\(outcome.status)",
        ]
        if let remote = outcome.remote { metadata["remote"] = "\(remote)" }
        if outcome.kind != .ok { metadata["text"] = "\(outcome.text)" }
        logger.info("relay", metadata: metadata)
    }
}
