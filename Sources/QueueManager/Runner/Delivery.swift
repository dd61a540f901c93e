import Bus
import Daemon
import Deliverer
import DequeModule
import NIOCore
import SMTP
import Spool

/// One attempt to deliver a message to a job's recipients: what is sent, and the results so far. Belongs to the queue's
/// event loop.
final class Delivery: @unchecked Sendable {
    // Unchecked: it belongs to the runner, which asserts its loop.
    let job: DeliveryJob
    let content: Spool.Content
    /// Of each of the job's recipients.
    private(set) var results: [DeliveryResult?]
    private(set) var missing: Int
    /// What was said, as it was said: of the destination, too.
    private(set) var answers: [DeliveryResult] = []
    /// Which results are in the spool already.
    var isRecorded: [Bool]
    /// Answers to `READ` that are still to be given, in order; the first one is being read.
    var pieces: Deque<Piece> = []

    enum Piece {
        case read(PieceRequest)
        case refuse(Frame)
    }

    init(_ job: DeliveryJob, _ content: Spool.Content) {
        self.job = job
        self.content = content
        results = Array(repeating: nil, count: job.recipients.count)
        isRecorded = Array(repeating: false, count: job.recipients.count)
        missing = job.recipients.count
    }

    /// A recipient as the envelope has it.
    func recipient(_ position: Int) -> EnvelopeRecipient {
        content.head.envelope.recipients[Int(job.recipients[position])]
    }

    /// What the request takes of memory until it's over. Octets.
    var octets: Int { content.added.readableBytes + (content.message?.readableBytes ?? 0) }

    var request: DeliverRequest {
        let envelope = content.head.envelope
        return DeliverRequest(
            id: envelope.id.description,
            attempt: job.attempts + 1,
            arrived: envelope.arrived,
            mayBeKnown: job.mayBeKnown,
            sender: job.recipients.isEmpty ? envelope.sender : envelope.sender(for: recipient(0).address),
            recipients: job.recipients.indices.map { recipient($0) },
            destination: job.destination.isEmpty ? nil : job.destination,
            added: content.added,
            octets: content.head.octets,
            message: content.message,
            isExpanded: envelope.isExpanded,
            isQuarantined: envelope.isQuarantined,
            submitter: envelope.submitter,
            account: envelope.user,
            terms: envelope.terms,
            isFlushed: job.isFlushed
        )
    }

    /// What a route is looked for by; nil for our own mailboxes.
    var routeQuestion: RouteTable.Question? {
        guard !job.destination.isEmpty else { return nil }
        let envelope = content.head.envelope
        let sender = job.recipients.isEmpty ? envelope.sender : envelope.sender(for: recipient(0).address)
        return RouteTable.Question(
            name: envelope.route,
            account: envelope.user,
            sender: sender.path.address?.description,
            destination: job.destination
        )
    }

    /// Nobody knows where it goes.
    ///
    /// - Returns: whose result is known now.
    func fail(_ failure: RouteDirectory.Failure) -> [Int] {
        var result: DeliveryResult
        switch failure {
        case .unknown:
            // No attempt was made: it comes again within seconds.
            result = DeliveryResult(.delayed, .systemTrouble, "where it goes is not known now")
            result.scope = .turn
        case .away:
            result = DeliveryResult(.delayed, .systemTrouble, "pipe-deliver is away")
            result.scope = .turn
        case .missing(let text): result = DeliveryResult(.delayed, .noRoute, text)
        }
        answers.append(result)
        return answerAll(result)
    }

    /// Takes an answer: for the recipient that it names, or for all that have none yet.
    ///
    /// - Returns: whose result is known now.
    func answer(_ reply: Frame) -> [Int] {
        let result = DeliveryResult(reply, success: job.destination.isEmpty ? .delivered : .relayed)
        answers.append(result)
        guard let name = reply["recipient"] else { return answerAll(result) }
        guard let position = position(of: name) else { return [] }
        results[position] = result
        missing -= 1
        return [position]
    }

    /// Gives a result to all that have none yet.
    func answerAll(_ result: DeliveryResult) -> [Int] {
        let open = results.indices.filter { results[$0] == nil }
        for position in open { results[position] = result }
        missing = 0
        return open
    }

    /// What was a delay is final: the message's time is over.
    func expire(_ position: Int) {
        let status: EnhancedStatusCode = job.message.returnDeadline == nil ? .deliveryTimeExpired : .deadlinePassed
        results[position] = results[position]?.expired(status)
    }

    /// Whether the sender wants to hear that a recipient has the message, as far as it's for us to tell (RFC 3461 §5.2, RFC
    /// 2852 §4.1.4). Of reports, of quarantined mail and of what is in the queue again for one other address, nobody is told.
    func isSuccessToReport(_ position: Int) -> Bool {
        guard let result = results[position], !job.message.isReport, !job.message.isSenderDoubted else { return false }
        let parameters = recipient(position).parameters
        guard parameters.notify != .never else { return false }
        let isWanted = parameters.notify?.contains(.success) ?? false
        switch result.action {
        case .delivered: return isWanted
        // With one address the wish goes on.
        case .expanded: return isWanted && result.expanded.map { $0 > 1 } ?? true
        case .relayed:
            let deadline = content.head.envelope.terms.deadline
            let isNotice = deadline.map { $0.isTraced || $0.mode == .notify && result.isUntimed } ?? false
            return isWanted && !result.isReportedElsewhere || isNotice
        case .delayed, .failed: return false
        }
    }

    /// The first unanswered recipient of that name, with or without parameters.
    private func position(of name: String) -> Int? {
        guard let wanted = try? EnvelopeRecipient(parsing: name.utf8) else { return nil }
        let open = results.indices.filter { results[$0] == nil }
        return open.first { recipient($0) == wanted } ?? open.first { recipient($0).address == wanted.address }
    }
}
