import Bus
import SMTP
import Spool

/// What a deliverer said about one recipient.
struct RecipientResult {
    var kind: ReplyKind
    /// Enhanced status code.
    var status: String
    var text: String
    /// The other host, and its words.
    var remote: String?
    var diagnostic: String?

    /// Whether the destination as a whole could not be reached: network and routing status (RFC 3463 §3.5).
    var isAboutDestination: Bool { kind == .defer && status.hasPrefix("4.4.") }

    init(kind: ReplyKind, status: String, text: String) {
        self.kind = kind
        self.status = status
        self.text = text
    }

    init(_ reply: Frame) {
        let kind = reply.replyKind ?? .defer
        let digit: Character = kind == .ok ? "2" : kind == .defer ? "4" : "5"
        let status = reply["status"].flatMap { EnhancedStatusCode(parsing: $0.utf8)?.description }
        self.init(
            kind: kind,
            status: status.flatMap { $0.first == digit ? $0 : nil } ?? "\(digit).0.0",
            text: reply["text"] ?? reply["diagnostic"] ?? ""
        )
        remote = reply["remote"]
        diagnostic = reply["diagnostic"]
    }

    /// For the state file and the log: all that is known, in one line.
    var summary: String {
        var words = text
        if let remote { words += words.isEmpty ? remote : " (\(remote))" }
        if let diagnostic, diagnostic != text { words += ": \(diagnostic)" }
        return words
    }
}

/// One request to a deliverer, and the answers so far.
final class Delivery: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    let job: DeliveryJob
    let envelope: MessageEnvelope
    /// Of each of the job's recipients.
    private(set) var results: [RecipientResult?]
    private var missing: Int
    /// Whether a deliverer was asked.
    private(set) var isSent = true

    init(_ job: DeliveryJob, _ envelope: MessageEnvelope) {
        self.job = job
        self.envelope = envelope
        results = Array(repeating: nil, count: job.recipients.count)
        missing = job.recipients.count
    }

    /// A recipient as the envelope has it.
    func recipient(_ position: Int) -> String {
        let index = Int(job.recipients[position])
        return envelope.recipients.indices.contains(index) ? envelope.recipients[index] : ""
    }

    /// The request (docs/protocols.md, "deliver.sock and relay.sock").
    var frame: Frame {
        let message = job.message
        var fields: [Frame.Field] = [
            .init("id", message.id.description), .init("file", message.id.path),
            .init("offset", String(message.offset)),
            .init("octets", String(message.octets)), .init("attempt", String(job.attempts + 1)),
            .init("arrived", String(message.arrived)), .init("sender", envelope.sender),
        ]
        for position in job.recipients.indices { fields.append(.init("recipient", recipient(position))) }
        if !job.destination.isLocal { fields.append(.init("destination", job.destination.name)) }
        if job.mayBeKnown { fields.append(.init("retry", "yes")) }
        return Frame("DELIVER", fields)
    }

    var hasAnswers: Bool { missing < results.count }

    /// Notes an answer; returns whether it was the last one.
    func take(_ reply: Frame) -> Bool {
        let result = RecipientResult(reply)
        guard let name = reply["recipient"], results.count > 1 else {
            for position in results.indices where results[position] == nil { results[position] = result }
            missing = 0
            return true
        }
        if let position = position(of: name) {
            results[position] = result
            missing -= 1
        }
        return missing == 0
    }

    /// The first unanswered recipient of that name, with or without parameters.
    private func position(of name: String) -> Int? {
        let open = results.indices.filter { results[$0] == nil }
        if let exact = open.first(where: { recipient($0) == name }) { return exact }
        guard let wanted = try? EnvelopeRecipient(parsing: name.utf8).address else { return nil }
        return open.first { (try? EnvelopeRecipient(parsing: recipient($0).utf8).address) == wanted }
    }

    /// No more answers will come.
    func interrupt() { missing = 0 }

    /// Gives every recipient a result without asking a deliverer.
    func conclude(_ result: RecipientResult) {
        isSent = false
        results = Array(repeating: result, count: results.count)
        missing = 0
    }
}
