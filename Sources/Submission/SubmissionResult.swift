import Bus
import SMTP

/// What became of a message that was handed in.
package enum SubmissionResult: Sendable, Equatable {
    /// It is on stable storage, by this ID.
    case accepted(id: String)
    /// Nothing of it was kept, or it is not known: it may be handed in again later.
    case deferred(EnhancedStatusCode, String)
    /// Nothing of it was kept, for good.
    case refused(EnhancedStatusCode, String)

    /// Reads queue-manager's reply. One that isn't understood is a deferral.
    ///
    /// - Parameter expected: the ID that the message was to have.
    init(_ reply: Frame, expected: String) {
        let status = reply.status
        let text = reply["text"] ?? ""
        switch reply.replyKind {
        case .ok: self = .accepted(id: reply["id"] ?? expected)
        case .reject: self = .refused(status.flatMap { $0.statusClass == 5 ? $0 : nil } ?? .badMessage, text)
        case .defer: self = .deferred(status.flatMap { $0.statusClass == 4 ? $0 : nil } ?? .systemTrouble, text)
        case nil: self = .deferred(.systemTrouble, "unexpected reply \(reply.verb)")
        }
    }

    init(_ error: SubmissionError) { self = .deferred(.systemTrouble, error.description) }
}
