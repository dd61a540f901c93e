import Bus
import NIOCore
import Network

/// One connection to queue-manager, which carries one message at a time. Belongs to one event loop.
final class QueueConnection {
    private let connection: Connection
    private var parser = FrameParser()
    /// The ID that the next message will have; nil where none can be taken.
    private(set) var nextID: String?

    private init(_ connection: Connection) { self.connection = connection }

    /// Connects and reads the greeting.
    static func open(
        path: String,
        on loop: any EventLoop,
        timeout: TimeAmount
    ) async throws(SubmissionError) -> QueueConnection {
        let connection: Connection
        do {
            connection = try await Connection.connect(unix: path, on: loop)
        } catch {
            throw .unavailable("\(path): \(error)")
        }
        connection.idleTimeout = timeout
        let queue = QueueConnection(connection)
        let greeting: Frame
        do throws(SubmissionError) {
            greeting = try await queue.reply()
        } catch {
            queue.abort()
            throw error
        }
        guard greeting.replyKind == .ok, queue.nextID != nil else {
            queue.abort()
            throw .unavailable("\(path): \(greeting["text"] ?? "no ID offered")")
        }
        return queue
    }

    /// Whether the connection can take a message now, as far as is known. What comes unasked is no good sign.
    var isUsable: Bool { nextID != nil && !connection.hasEnded && connection.input.readableBytes == 0 }

    /// Adds a frame to what the next `flush` sends.
    func write(_ frame: Frame) { connection.write(frame) }

    /// Sends what was written; returns when the backlog is small again.
    func flush() async throws(SubmissionError) {
        do {
            try await connection.flush()
        } catch {
            throw .unavailable("queue-manager: \(error)")
        }
    }

    /// Waits for a reply.
    func reply() async throws(SubmissionError) -> Frame {
        do {
            guard let frame = try await connection.readFrame(&parser) else {
                throw SubmissionError.unavailable("queue-manager closed the connection")
            }
            nextID = SubmissionProtocol.nextID(frame)
            return frame
        } catch let error as SubmissionError {
            throw error
        } catch let error as FrameError {
            throw .malformed("queue-manager: \(error.text)")
        } catch {
            throw .unavailable("queue-manager: \(error)")
        }
    }

    /// A reply that came before the end of the message, such as that the disk is full; nil where there is none.
    func earlyReply() -> Frame? {
        guard connection.input.readableBytes > 0 else { return nil }
        return try? parser.next(from: &connection.input)
    }

    /// Closes the connection; a message that has not been ended is thrown away.
    func abort() {
        nextID = nil
        connection.abort()
    }
}
