import Spool

/// What the scheduler knows of a message: only what scheduling needs, for there may be millions.
final class QueuedMessage: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    let id: MessageID
    /// Seconds since 1970.
    let arrived: Int64
    /// Where the message begins in its file, and its size. Octets.
    let offset: Int
    let octets: Int
    /// Whether it has the null reverse-path: it is never answered with a report.
    let isReport: Bool
    /// What made its submission idempotent.
    let origin: String?
    /// Recipients without a final result, by destination.
    var jobs: [DeliveryJob] = []
    /// Kept from the arrival to the end of the first attempt; afterwards it's read again when it's needed.
    var envelope: MessageEnvelope?
    var isHeld = false
    /// To be held once the deliveries that are going on are over.
    var isHoldWanted = false
    /// The administrator removed it; deliveries that are going on come to nothing.
    var isRemoved = false
    /// A command of the administrator works on it.
    var isChanging = false
    /// The sender knows that it's late.
    var isWarned = false

    init(_ head: QueueFileHead) {
        id = head.envelope.id
        arrived = head.envelope.arrived
        offset = head.offset
        octets = head.octets
        isReport = head.envelope.sender.hasPrefix("<>")
        origin = head.envelope.origin
    }

    var isActive: Bool { jobs.contains { $0.phase == .active } }

    /// For people and programs.
    var stateName: String {
        if isHeld { return "held" }
        if isActive { return "active" }
        return jobs.contains { $0.attempts > 0 } ? "deferred" : "queued"
    }
}

/// A message's recipients at one destination: what one delivery is for.
final class DeliveryJob: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    enum Phase {
        /// In its destination's line.
        case ready
        /// Waits for its time.
        case deferred
        /// Given to a deliverer.
        case active
        /// Held, or over.
        case idle
    }

    let message: QueuedMessage
    var destination: Destination
    /// Which of the envelope's recipients, from 0.
    var recipients: [Int32]
    /// Attempts that failed.
    var attempts = 0
    /// When it's due. Milliseconds since 1970.
    var due: Int64 = 0
    var phase = Phase.idle
    /// An earlier attempt may have got through unnoticed.
    var mayBeKnown: Bool

    init(_ message: QueuedMessage, _ destination: Destination, recipients: [Int32], mayBeKnown: Bool) {
        self.message = message
        self.destination = destination
        self.recipients = recipients
        self.mayBeKnown = mayBeKnown
    }
}
