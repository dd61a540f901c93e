import NIOCore
import SMTP
import Spool

/// A message as the spool's user knows it, and what must be true of it after a power cut.
///
/// One thread at a time.
final class SimulatedMessage: @unchecked Sendable {
    // Unchecked: the simulation has one thread.

    enum Presence {
        /// Its end was never asked for.
        case unfinished
        /// Something is under way, or has failed: it's there as a whole, or not.
        case uncertain
        /// Acknowledged.
        case there
        /// Its removal was acknowledged.
        case gone
    }

    struct Line {
        let text: String
        /// Whether it must be there.
        var isDurable: Bool
        /// It didn't go through the journal: it may be lost, even after it was seen. After a sync that failed, what is read need
        /// not be on the disk, and nothing writes such a line again.
        var isNote = false
    }

    let envelope: MessageEnvelope
    let message: ByteBuffer
    let added: ByteBuffer
    var presence: Presence
    var lines: [Line] = []
    /// Where it is; nil where it's on its way, or nobody knows.
    var isHeld: Bool? = false
    /// Whether its end was asked for: nothing more is done to it.
    var isEnding = false

    init(_ envelope: MessageEnvelope, message: ByteBuffer, added: ByteBuffer, presence: Presence) {
        self.envelope = envelope
        self.message = message
        self.added = added
        self.presence = presence
    }

    var id: MessageID { envelope.id }

    func acknowledge(line text: String) {
        guard let index = lines.firstIndex(where: { $0.text == text }) else { return }
        lines[index].isDurable = true
    }
}

/// A transaction that was not acknowledged yet: it happened as a whole, or not at all.
final class SimulatedTransaction: @unchecked Sendable {
    // Unchecked: the simulation has one thread.

    var put: SimulatedMessage?
    var done: SimulatedMessage?
    var line: (message: SimulatedMessage, text: String)?
    var isAcknowledged = false
}
