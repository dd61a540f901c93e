import Accounts
import Bus
import CoreMetrics
import Logging
import Mailbox
import SMTP
import NIOCore
import NIOPosix
import Network

/// Answers `DELIVER` on `run/deliver.sock`. Belongs to one event loop.
final class DeliveryService: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    private let expansions: ExpansionCache
    private let batcher: DeliveryBatcher
    private let forwarder: Forwarder
    private let pool: NIOThreadPool
    private let queue: CInt
    private let usesExtensionFolders: Bool
    private let logger: Logger
    private let counters: [ReplyKind: Counter] = [
        .ok: Counter(label: "delivered"), .defer: Counter(label: "deferred"), .reject: Counter(label: "rejected"),
    ]

    init(
        expansions: ExpansionCache,
        batcher: DeliveryBatcher,
        forwarder: Forwarder,
        pool: NIOThreadPool,
        queue: CInt,
        usesExtensionFolders: Bool,
        logger: Logger
    ) {
        self.expansions = expansions
        self.batcher = batcher
        self.forwarder = forwarder
        self.pool = pool
        self.queue = queue
        self.usesExtensionFolders = usesExtensionFolders
        self.logger = logger
    }

    /// Starts to work on a request; a reply for each recipient follows when it is known.
    func answer(_ frame: Frame, _ connection: Connection) {
        let tag = frame["tag"]
        guard frame.verb == "DELIVER" else {
            connection.write(Frame.reply(.reject, status: "5.5.1", text: "unknown verb", tag: tag))
            return
        }
        let recipients = frame.all("recipient")
        guard !recipients.isEmpty else {
            connection.write(Frame.reply(.defer, status: "4.3.0", text: "no recipient", tag: tag))
            return
        }
        let file: OpenFile
        do {
            file = try DeliveryRequest.open(frame, in: queue)
        } catch {
            // Without a recipient it is for all of them.
            connection.write(Frame.reply(.defer, status: "4.3.0", text: error.text, tag: tag))
            return
        }
        for recipient in recipients {
            Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { [self] in
                let result = await result(of: frame, recipient, file)
                log(frame, recipient, result)
                counters[result.kind]?.increment()
                var fields = [Frame.Field("recipient", recipient)]
                if let expanded = result.expanded { fields.append(.init("expanded", String(expanded))) }
                connection.write(Frame.reply(result.kind, status: result.status, text: result.text, tag: tag, fields))
                try? await connection.flush()
            }
        }
    }

    private func result(of frame: Frame, _ recipient: String, _ file: OpenFile) async -> DeliveryResult {
        let request: DeliveryRequest
        do {
            request = try DeliveryRequest(frame, recipient: recipient, file: file)
        } catch {
            return .later("4.3.0", error.text)
        }
        do {
            switch try await expansions.expand(request.recipient.address) {
            case .mailbox(let mailbox, let rest): return await deliver(request, mailbox, rest)
            case .forward(let targets): return await forward(request, targets)
            }
        } catch {
            switch error {
            case .refused(let status, let text): return .never(status.description, text)
            case .deferred(let status, let text): return .later(status.description, text)
            case .unavailable(let reason): return .later("4.3.0", reason)
            }
        }
    }

    private func deliver(
        _ request: DeliveryRequest,
        _ mailbox: AccountMailbox,
        _ rest: String?
    ) async -> DeliveryResult {
        guard let format = MailboxFormat(rawValue: mailbox.format),
            let location = MailboxLocation(path: mailbox.mailbox, format: format, quota: mailbox.quota)
        else { return .later("4.3.5", "\(mailbox.address) has a mailbox that cannot be used") }
        let delivery = Delivery(
            to: location,
            folder: usesExtensionFolders ? rest.flatMap { FolderName($0) } : nil,
            key: request.key,
            arrived: request.arrived,
            sender: request.sender.path.address?.description ?? "",
            prefix: request.prefix,
            source: request.file,
            offset: request.offset,
            octets: request.octets,
            mayBeKnown: request.mayBeKnown
        )
        let isLoop: DeliveryBatcher.Check = { () throws(MailboxError) in try LoopDetection.hasBeenDelivered(request) }
        switch await batcher.deliver(delivery, unless: isLoop) {
        case .success(true): return .delivered("delivered to \(mailbox.address)")
        case .success(false): return Self.loop(request)
        case .failure(let error): return DeliveryResult(error)
        }
    }

    private func forward(_ request: DeliveryRequest, _ targets: [String]) async -> DeliveryResult {
        if let loop = await loop(request) { return loop }
        return await forwarder.forward(request, to: targets)
    }

    private func loop(_ request: DeliveryRequest) async -> DeliveryResult? {
        let result = try? await pool.runIfActive(eventLoop: batcher.eventLoop) {
            Result { () throws(MailboxError) in try LoopDetection.hasBeenDelivered(request) }
        }.get()
        switch result {
        case .success(false): return nil
        case .success(true): return Self.loop(request)
        case .failure(let error): return DeliveryResult(error)
        case nil: return .later("4.3.2", "shutting down")
        }
    }

    private static func loop(_ request: DeliveryRequest) -> DeliveryResult {
        .never("5.4.6", "mail for \(request.recipient.address) goes round in a loop")
    }

    private func log(_ frame: Frame, _ recipient: String, _ result: DeliveryResult) {
        logger.info(
            "delivery",
            metadata: [
                "id": "\(frame["id"] ?? "")", "recipient": "\(recipient)", "result": "\(result.kind.rawValue)",
                "status": "\(result.status)", "text": "\(result.text)",
            ]
        )
    }
}
