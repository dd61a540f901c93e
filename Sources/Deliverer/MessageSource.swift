import Bus
import NIOCore

/// Why a message can't be read to its end.
package enum MessageSourceError: Error, Hashable, CustomStringConvertible {
    /// queue-manager's connection has ended: nobody waits for a result either.
    case abandoned
    /// queue-manager can't read the message now; its words.
    case refused(String)
    /// No piece came in time.
    case timedOut
    /// What came is not the piece that was asked for.
    case malformed

    package var description: String {
        switch self {
        case .abandoned: "the connection of queue-manager has ended"
        case .refused(let text): "queue-manager cannot read the message: \(text)"
        case .timedOut: "queue-manager gave no piece of the message in time"
        case .malformed: "queue-manager gave another piece than was asked for"
        }
    }
}

/// A message as a deliverer gets it: whole, or in pieces that it asks queue-manager for at its own pace. Any number of
/// readers may read it, one after the other or at the same time. Belongs to one event loop.
package final class MessageSource: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// What goes in front of the message: whole header lines.
    package let added: ByteBuffer
    /// The message's size, without what is added. Octets.
    package let octets: Int
    /// The message, where it is in memory.
    package let whole: ByteBuffer?

    let loop: any EventLoop
    /// Sends a `READ`.
    private let request: (_ offset: Int, _ length: Int) -> Void
    /// What was asked for and not answered, in order.
    private var pending: CircularBuffer<(offset: Int, length: Int, reader: MessageReader)> = []
    private var failure: MessageSourceError?

    /// A message in memory.
    package init(added: ByteBuffer, message: ByteBuffer, on loop: any EventLoop) {
        self.added = added
        octets = message.readableBytes
        whole = message
        self.loop = loop
        request = { _, _ in }
    }

    /// A message in pieces.
    ///
    /// - Parameter request: sends a `READ`; `answer` takes what comes back, in order.
    package init(
        added: ByteBuffer,
        octets: Int,
        on loop: any EventLoop,
        request: @escaping (_ offset: Int, _ length: Int) -> Void
    ) {
        self.added = added
        self.octets = octets
        whole = nil
        self.loop = loop
        self.request = request
    }

    /// Of the message with what is added. Octets.
    package var totalOctets: Int { added.readableBytes + octets }

    /// Reads from the beginning.
    ///
    /// - Parameter ahead: how many pieces are asked for before they are wanted.
    package func reader(ahead: Int = MessageReader.readAhead) -> MessageReader { MessageReader(self, ahead: ahead) }

    /// Asks for a piece.
    func ask(offset: Int, length: Int, for reader: MessageReader) {
        loop.assertInEventLoop()
        if let failure { return reader.fail(failure) }
        pending.append((offset, length, reader))
        request(offset, length)
    }

    /// Handles an answer to a `READ`; one that nobody asked for is ignored.
    package func answer(_ frame: Frame) {
        loop.assertInEventLoop()
        guard let (offset, length, reader) = pending.popFirst() else { return }
        guard frame.replyKind == .ok else {
            reader.fail(.refused(frame["text"] ?? "no reason given"))
            return
        }
        guard frame.integer("offset") == offset, let piece = frame.body, piece.readableBytes == length else {
            reader.fail(.malformed)
            return
        }
        reader.receive(piece)
    }

    /// No answers come any more.
    package func end() {
        loop.assertInEventLoop()
        failure = .abandoned
        let lost = pending
        pending = []
        for (_, _, reader) in lost { reader.fail(.abandoned) }
    }
}
