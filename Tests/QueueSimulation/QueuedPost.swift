import NIOCore
import SMTP
import Spool

/// A message as its sender, the administrator and its recipients know it.
///
/// One thread at a time.
final class QueuedPost: @unchecked Sendable {
    // Unchecked: the simulation has one thread.

    /// What is known of one recipient.
    struct Recipient {
        let recipient: EnvelopeRecipient
        /// The deliverer took the message for it: how often.
        var accepted = 0
        /// The queue was told so in this life.
        var isKnown = false
        /// That is on stable storage.
        var isRecorded = false
        /// A request for it is with a deliverer.
        var isInFlight = false
        /// It was refused for good.
        var isRefused = false
        /// The report that says that it failed.
        var report: MessageID?
        /// The report that says that it's late.
        var delay: MessageID?
        /// The administrator wants it removed for this recipient alone.
        var isRemovalWanted = false
        /// It is, and that is on stable storage.
        var isRemoved = false
        /// Likewise returned.
        var isBounceWanted = false
    }

    enum Presence {
        /// Nobody was told that it's there.
        case uncertain
        /// Acknowledged.
        case acknowledged
        /// Known to have left.
        case gone
    }

    let envelope: MessageEnvelope
    /// nil for a report, whose octets the queue made itself.
    let message: ByteBuffer?
    let added: ByteBuffer
    var presence: Presence
    var recipients: [Recipient]
    /// Where it is; nil where a change is under way, or nobody knows.
    var isHeld: Bool? = false
    /// Changes that were asked for and had no answer.
    var changes = 0
    var isRemovalWanted = false
    var isBounceWanted = false
    init(_ envelope: MessageEnvelope, message: ByteBuffer?, added: ByteBuffer, presence: Presence) {
        self.envelope = envelope
        self.message = message
        self.added = added
        self.presence = presence
        recipients = envelope.recipients.map { Recipient(recipient: $0) }
    }

    var id: MessageID { envelope.id }
    var isReport: Bool { envelope.sender.path.address == nil }

    /// Whether nobody can say that it was lost for a recipient when it's not in the queue.
    ///
    /// - Parameter isExpired: whether its time is over.
    func isAccountedFor(_ recipient: Recipient, isExpired: Bool) -> Bool {
        recipient.accepted > 0 || recipient.report != nil || isRemovalWanted || recipient.isRemovalWanted
            || recipient.isRemoved
            || isReport && (recipient.isRefused || isBounceWanted || recipient.isBounceWanted || isExpired)
    }
}
