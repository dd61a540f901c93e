/// A message's recipients at one destination: what one delivery is for.
final class DeliveryJob: @unchecked Sendable {
    // Unchecked: it belongs to the queue, which asserts its loop.

    /// Where it is; changed by the schedule alone.
    enum Phase {
        /// Nowhere: its message is held or being changed, or it is over.
        case idle
        /// In its destination's line.
        case ready
        /// Waits for its time.
        case deferred
        /// Its sender's or its destination's mail is paused.
        case paused
        /// A delivery of it goes on.
        case active
    }

    let message: QueuedMessage
    /// Its destination's; changed by the store alone, so that all jobs there share it.
    var group: MessageGroup
    /// When it's due. Milliseconds since 1970.
    var due: Int64 = 0
    /// Attempts that failed.
    var attempts = 0
    /// Why the last attempt failed.
    var reason: FailureReason?
    /// Which of the envelope's recipients, from 0.
    var recipients: Few<Int32>
    /// An earlier attempt may have got through unnoticed.
    var mayBeKnown: Bool
    /// The sender knows that it's late.
    var isWarned = false
    var phase = Phase.idle
    /// It's deferred because its sender doesn't want it to leave yet (RFC 4865). Changed by the schedule alone.
    var isHeldBack = false
    /// The administrator wants it tried now, and it wasn't since. Changed by the schedule alone.
    var isFlushed = false
    /// Its delivery takes long. Changed by the schedule alone.
    var isSlow = false
    /// Its delivery tries whether the destination can be reached. Changed by the schedule alone.
    var isUnproven = false

    init(_ message: QueuedMessage, to group: MessageGroup, recipients: Few<Int32>, mayBeKnown: Bool) {
        self.message = message
        self.group = group
        self.recipients = recipients
        self.mayBeKnown = mayBeKnown
    }

    /// - Parameter destination: the domain in lower case; empty for our mailboxes.
    convenience init(_ message: QueuedMessage, to destination: String, recipients: Few<Int32>, mayBeKnown: Bool) {
        self.init(message, to: MessageGroup(destination), recipients: recipients, mayBeKnown: mayBeKnown)
    }

    /// The domain in lower case; empty for our mailboxes.
    var destination: String { group.name }
}

extension DeliveryJob: Hashable {
    static func == (left: DeliveryJob, right: DeliveryJob) -> Bool { left === right }

    /// Not by its place in memory, so that a simulation takes the same way each time.
    func hash(into hasher: inout Hasher) {
        hasher.combine(message.id)
        hasher.combine(recipients.first)
    }
}
