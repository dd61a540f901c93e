import Bus
import NIOCore

/// Hands one message to queue-manager, for commands that have no event loop. Every call blocks.
package struct BlockingSubmission {
    /// The ID that the message will have.
    package let id: String

    private let socket: FrameSocket
    private let envelope: SubmissionEnvelope
    private var held = ByteBuffer()
    private var isBegun = false
    /// The connection broke while the message was sent.
    private var trouble: SubmissionError?

    /// Connects to queue-manager.
    ///
    /// - Parameter path: of its socket.
    package init(_ envelope: SubmissionEnvelope, path: String) throws(SubmissionError) {
        self.envelope = envelope
        do throws(BusError) {
            socket = try FrameSocket(path)
            let greeting = try socket.receive()
            guard greeting.replyKind == .ok, let next = SubmissionProtocol.nextID(greeting) else {
                throw BusError.unavailable("\(path): \(greeting["text"] ?? "no ID offered")")
            }
            id = next
        } catch {
            throw SubmissionError(error)
        }
    }

    /// Appends octets of the message. Once queue-manager has hung up, they are thrown away.
    package mutating func append(_ octets: some Sequence<UInt8>) {
        held.writeBytes(octets)
        while held.readableBytes > SubmissionProtocol.chunk, let part = held.readSlice(length: SubmissionProtocol.chunk)
        {
            held.discardReadBytes()
            send([frame(part)])
        }
    }

    /// Ends the message, with what goes in front of it, and waits for what queue-manager says about it.
    ///
    /// - Parameter added: whole header lines; `SubmissionProtocol.addedLimit` octets at most.
    package mutating func finish(added: ByteBuffer) -> SubmissionResult {
        send([frame(held), SubmissionProtocol.end(added: added)])
        do throws(BusError) {
            return SubmissionResult(try socket.receive(), expected: id)
        } catch {
            return SubmissionResult(trouble ?? SubmissionError(error))
        }
    }

    /// A piece of the message; the first one goes with the envelope.
    private mutating func frame(_ part: ByteBuffer) -> Frame {
        defer { isBegun = true }
        return isBegun ? SubmissionProtocol.part(part) : SubmissionProtocol.begin(envelope, first: part)
    }

    /// A failure is kept: queue-manager may have said why before it hung up.
    private mutating func send(_ frames: [Frame]) {
        guard trouble == nil else { return }
        do throws(BusError) {
            try socket.send(frames)
        } catch {
            trouble = SubmissionError(error)
        }
    }
}
