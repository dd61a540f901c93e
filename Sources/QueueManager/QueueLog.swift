import Logging
import Metrics
import SMTP
import Spool

/// One line for each thing that happens to a message, its ID first, so that a search for the ID tells its story.
struct QueueLog: Sendable {
    let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    /// - Parameter name: its Message-ID, of a local program's message: of others smtpd says it.
    func accepted(_ id: MessageID, _ envelope: MessageEnvelope, octets: Int, name: String?) {
        var metadata: Logger.Metadata = [
            "sender": .string(envelope.sender.description), "octets": .string(String(octets)),
            "recipients": .string(String(envelope.recipients.count)),
        ]
        if let client = envelope.client { metadata["client"] = .string(client) }
        if let user = envelope.user { metadata["user"] = .string(user) }
        if let uid = envelope.uid { metadata["uid"] = "\(uid)" }
        if let origin = envelope.origin { metadata["origin"] = .string(origin) }
        if let name { metadata["message-id"] = .string(name) }
        logger.info("\(id) accepted", metadata: metadata)
    }

    func result(_ job: DeliveryJob, _ recipient: EnvelopeRecipient, _ result: DeliveryResult, _ word: String) {
        logger.info(
            "\(job.message.id) \(word)",
            metadata: [
                "recipient": .string(recipient.description), "status": .string(result.status.description),
                "text": .string(result.summary), "attempt": .string(String(job.attempts + 1)),
            ]
        )
    }

    func reported(_ id: MessageID, by report: MessageID, to sender: String, name: String) {
        logger.info(
            "\(id) reported",
            metadata: ["report": "\(report)", "sender": .string(sender), "message-id": .string(name)]
        )
    }

    func unreported(_ id: MessageID, why: String) { logger.info("\(id) not reported", metadata: ["reason": "\(why)"]) }

    /// Mail is given up, and there is nobody who could be told.
    func dropped(_ id: MessageID) {
        logger.warning(
            "\(id) given up without a report: it has the null reverse-path, and postmaster is not told of his own mail"
        )
    }

    /// Likewise; postmaster hears how many there were.
    func droppedBeyondLimit(_ id: MessageID) {
        logger.warning("\(id) given up without a report: postmaster has had as many in this hour as there may be")
    }

    /// Likewise.
    func droppedQuarantined(_ id: MessageID) {
        logger.notice("\(id) given up without a report: it is quarantined, and its sender may be forged")
    }

    func unreportable(_ id: MessageID, _ reason: String) {
        logger.error("\(id) cannot be reported now; it is tried again", metadata: ["reason": "\(reason)"])
    }

    /// - Parameter count: of reports that were not made.
    func summarized(_ count: Int, by report: MessageID) {
        logger.warning(
            "postmaster hears how many reports there were no room for",
            metadata: ["count": "\(count)", "report": "\(report)"]
        )
    }

    func unsummarized(_ reason: String) {
        logger.error("postmaster cannot be told now how many reports there were", metadata: ["reason": "\(reason)"])
    }

    func left(_ id: MessageID) { logger.info("\(id) left the queue") }

    func interrupted(_ id: MessageID, _ reason: String) {
        logger.notice("\(id) interrupted", metadata: ["reason": "\(reason)"])
    }

    func administered(_ id: MessageID, _ what: String) { logger.notice("\(id) \(what) by the administrator") }

    /// - Parameter recipients: the numbers of those whom it was done for, from 1.
    func administered(_ id: MessageID, _ what: String, recipients: [Int]) {
        logger.notice(
            "\(id) \(what) by the administrator for some recipients",
            metadata: ["recipients": .array(recipients.map { .stringConvertible($0) })]
        )
    }

    func realiased(_ id: MessageID, to fresh: [String], instead gone: [String]) {
        logger.notice(
            "\(id) goes where its alias leads now",
            metadata: ["recipients": .array(fresh.map { .string($0) }), "instead": .array(gone.map { .string($0) })]
        )
    }

    func account(_ account: String, isDisabled: Bool) {
        logger.notice(
            isDisabled ? "mail of a disabled account waits" : "mail of an account goes on",
            metadata: ["account": .string(account)]
        )
    }

    func unknownAccount(_ id: MessageID, _ account: String) {
        logger.warning(
            "\(id) waits: authd doesn't say whether the account is disabled",
            metadata: ["account": .string(account)]
        )
    }

    func domainsChanged(messages: Int) {
        logger.notice("local domains changed", metadata: ["messages": "\(messages)"])
    }

    func rerouted(_ id: MessageID) { logger.notice("\(id) goes elsewhere: the local domains changed") }

    func unchanged(_ id: MessageID, _ what: String, _ reason: String) {
        logger.error("\(id) cannot be \(what)", metadata: ["reason": "\(reason)"])
    }

    func missing(_ id: MessageID) { logger.error("\(id) forgotten: its file is gone") }

    func moved(_ id: MessageID, isHeld: Bool) {
        logger.warning("\(id) found in \(isHeld ? "hold" : "queue")/")
    }

    func unlisted(_ what: String, _ reason: String) {
        logger.error(
            "a directory of the spool cannot be listed; it's tried again",
            metadata: [
                "directory": "\(what)", "reason": "\(reason)",
            ]
        )
    }

    func corrupt(_ id: MessageID, _ reason: String) {
        logger.error("\(id) moved to corrupt/", metadata: ["reason": "\(reason)"])
    }

    func unfiled(_ id: MessageID, _ reason: String) {
        logger.error("\(id) cannot be filed now; it is tried again", metadata: ["reason": "\(reason)"])
    }

    func unreadable(_ id: MessageID, _ reason: String) {
        logger.error("\(id) cannot be read now", metadata: ["reason": "\(reason)"])
    }

    func refused(_ reason: String, sender: String) {
        logger.notice("refused", metadata: ["reason": "\(reason)", "sender": "\(sender)"])
    }
}

/// What `run/status/queue-manager.sock` and `STATISTICS` count, since the start.
struct QueueCounters {
    private(set) var values: [String: Int] = [:]
    private var handles: [String: Counter] = [:]

    /// All that are counted.
    static let names = ["accepted", "delivered", "deferred", "failed", "reports", "expired"]

    init() {
        for name in Self.names {
            values[name] = 0
            handles[name] = Counter(label: name)
        }
    }

    mutating func count(_ name: String) {
        values[name, default: 0] += 1
        handles[name]?.increment()
    }
}
