import Bus
import Logging
import NIOCore
import Network
import SMTP

/// One connection of queue-manager: requests that are worked on at the same time, their pieces and their results.
/// Belongs to one event loop.
final class DeliverySession: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let connection: Connection
    private let settings: DeliveryServer.Settings
    private let work: DeliveryServer.Work
    private let counters: DeliveryCounters
    private let logger: Logger
    private var jobs: [String: DeliveryJob] = [:]
    private var whenIdle: CheckedContinuation<Void, Never>?

    init(
        _ connection: Connection,
        settings: DeliveryServer.Settings,
        counters: DeliveryCounters,
        logger: Logger,
        work: @escaping DeliveryServer.Work
    ) {
        self.connection = connection
        self.settings = settings
        self.counters = counters
        self.logger = logger
        self.work = work
    }

    /// Why the connection is of no more use.
    private enum Fault: Error {
        /// Two requests in flight have one tag: an answer could be taken for the other's.
        case tagInUse
    }

    /// Serves until the connection or the daemon ends. What can't be taken back any more is then still brought to its end,
    /// and its result told where it can be heard.
    func run() async {
        var parser = FrameParser()
        do {
            while let frame = try await connection.readFrame(&parser) { try handle(frame) }
        } catch let error as FrameError {
            refuse(error.text, tag: nil)
        } catch is Fault {
            refuse("tag in use", tag: nil)
        } catch {
            logger.debug("connection ended", metadata: ["reason": "\(error)"])
        }
        for job in jobs.values { job.abandon() }
        if !jobs.isEmpty { await withCheckedContinuation { whenIdle = $0 } }
        try? await connection.flush()
    }

    private func refuse(_ text: String, tag: String?) {
        connection.write(Frame.reply(.reject, status: .syntaxError, text: text, tag: tag))
        connection.flushSoon()
    }

    private func handle(_ frame: Frame) throws(Fault) {
        connection.eventLoop.assertInEventLoop()
        let tag = frame["tag"] ?? ""
        switch frame.verb {
        case "DELIVER": try begin(frame, tag)
        case "CANCEL": jobs[tag]?.cancel()
        case ReplyKind.ok.rawValue, ReplyKind.defer.rawValue, ReplyKind.reject.rawValue:
            // Of requests that are over, pieces may still come.
            jobs[tag]?.message.answer(frame)
        default:
            // Without a tag: it's no answer to a request that may have the same.
            connection.write(Frame.reply(.reject, status: .invalidCommand, text: "unknown verb"))
            connection.flushSoon()
        }
    }

    private func begin(_ frame: Frame, _ tag: String) throws(Fault) {
        guard jobs[tag] == nil else { throw .tagInUse }
        let request: DeliverRequest
        do throws(DeliverRequest.Malformed) {
            guard !tag.isEmpty else { throw DeliverRequest.Malformed(text: "no tag") }
            request = try DeliverRequest(frame)
        } catch {
            logger.error("request refused", metadata: ["id": "\(frame["id"] ?? "")", "reason": "\(error.text)"])
            deferRequest(.systemTrouble, error.text, tag: frame["tag"])
            return
        }
        guard jobs.count < settings.maximumRequests else {
            deferRequest(.notAccepting, "too many requests at a time", tag: tag)
            return
        }
        let job = DeliveryJob(request, source(of: request, tag), on: connection.eventLoop) { [self] place, result in
            let recipient = request.recipients[place]
            record(result, recipient, request, file: jobs[tag]?.files[place])
            answer(result, recipient, tag: tag)
        }
        jobs[tag] = job
        Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { [self] in
            await work(job)
            end(job, tag)
        }
    }

    private func source(of request: DeliverRequest, _ tag: String) -> MessageSource {
        if let message = request.message {
            return MessageSource(added: request.added, message: message, on: connection.eventLoop)
        }
        return MessageSource(added: request.added, octets: request.octets, on: connection.eventLoop) {
            [connection] (offset, length) in
            connection.write(PieceRequest(tag: tag, offset: offset, length: length).frame)
            connection.flushSoon()
        }
    }

    /// The work on a request is over: nobody is left without an answer who can hear one.
    private func end(_ job: DeliveryJob, _ tag: String) {
        connection.eventLoop.assertInEventLoop()
        jobs[tag] = nil
        let open = job.open
        if !open.isEmpty, !job.isOrphaned {
            let result =
                job.isCancelled
                ? DeliveryResult(.delayed, .notAccepting, "interrupted")
                : DeliveryResult(.delayed, .systemTrouble, "no result")
            for place in open { record(result, job.request.recipients[place], job.request) }
            answer(result, nil, tag: tag)
        }
        guard jobs.isEmpty else { return }
        whenIdle?.resume()
        whenIdle = nil
    }

    /// Defers all recipients of a request that can't be worked on.
    private func deferRequest(_ status: EnhancedStatusCode, _ text: String, tag: String?) {
        connection.write(Frame.reply(.defer, status: status, text: text, tag: tag))
        connection.flushSoon()
    }

    /// Answers of one turn of the loop leave together.
    private func answer(_ result: DeliveryResult, _ recipient: EnvelopeRecipient?, tag: String) {
        var frame = result.frame(recipient: recipient)
        frame.fields.insert(.init("tag", tag), at: 0)
        connection.write(frame)
        connection.flushSoon()
    }

    private func record(
        _ result: DeliveryResult,
        _ recipient: EnvelopeRecipient,
        _ request: DeliverRequest,
        file: String? = nil
    ) {
        counters.count(result.action)
        var metadata: Logger.Metadata = [
            "id": .string(request.id), "recipient": .string(recipient.description),
            "result": .string(result.action.rawValue), "status": .string(result.status.description),
        ]
        if let remote = result.remote { metadata["remote"] = "\(remote)" }
        if let file { metadata["file"] = .string(file) }
        if let security = result.security {
            metadata["policy"] = "\(security.policy)"
            metadata["tls"] = "\(security.version ?? "none")"
            metadata["verified"] = "\(security.proof ?? "no")"
        }
        if result.action != .relayed {
            metadata["text"] = .string(result.text)
            if let words = result.diagnostic { metadata["diagnostic"] = "\(words)" }
        }
        logger.info(settings.event, metadata: metadata)
    }
}
