import Bus
import NIOCore
import Network

/// Why a message could not be handed to queue-manager.
enum QueueError: Error, Equatable {
    /// Nobody listens, or the connection broke; the reason.
    case unavailable(String)
    /// What came is not what docs/protocols.md says.
    case malformed(String)
}

/// One connection to queue-manager, which takes one message at a time (docs/protocols.md, "queue.sock").
final class QueueConnection {
    private let connection: Connection
    private var parser = FrameParser()
    /// The ID that the next message will have.
    private(set) var nextID: String

    private init(_ connection: Connection) {
        self.connection = connection
        nextID = ""
    }

    /// Connects and reads the greeting.
    static func open(
        path: String,
        on loop: any EventLoop,
        timeout: TimeAmount
    ) async throws(QueueError) -> QueueConnection {
        let connection: Connection
        do {
            connection = try await Connection.connect(unix: path, on: loop)
        } catch {
            throw .unavailable("\(path): \(error)")
        }
        connection.idleTimeout = timeout
        let queue = QueueConnection(connection)
        let greeting = try await queue.reply()
        guard greeting.replyKind == .ok, !queue.nextID.isEmpty else {
            queue.abort()
            throw .unavailable("\(path): \(greeting["text"] ?? "no ID offered")")
        }
        return queue
    }

    /// Whether the connection can take a message now, as far as is known.
    var isUsable: Bool { !nextID.isEmpty && !connection.hasEnded }

    /// Writes a SUBMIT frame, with the whole message as its body where there is one. Sends nothing yet.
    func submit(_ envelope: Frame, message: (prefix: ByteBuffer, rest: ByteBuffer)? = nil) {
        connection.write { buffer in
            guard let message else {
                buffer.writeFrame(envelope)
                return
            }
            // The codec wants a body in one piece; these two are already in memory.
            buffer.writeFrame(envelope)
            buffer.moveWriterIndex(to: buffer.writerIndex - 1)
            Self.writeBody(message.prefix, message.rest, to: &buffer)
        }
    }

    /// Writes a part of the message, of at most 64 KiB. Sends nothing yet.
    func data(_ prefix: ByteBuffer, _ rest: ByteBuffer = ByteBuffer()) {
        connection.write { buffer in
            buffer.writeStaticString("DATA\n")
            Self.writeBody(prefix, rest, to: &buffer)
        }
    }

    /// Writes a part of the message without copying it. Sends nothing yet.
    func data(slice: ByteBuffer) {
        connection.write { buffer in
            buffer.writeStaticString("DATA\nsize: ")
            buffer.writeString(String(slice.readableBytes))
            buffer.writeStaticString("\n\n")
        }
        connection.write(slice)
    }

    private static func writeBody(_ first: ByteBuffer, _ second: ByteBuffer, to buffer: inout ByteBuffer) {
        buffer.writeStaticString("size: ")
        buffer.writeString(String(first.readableBytes + second.readableBytes))
        buffer.writeStaticString("\n\n")
        buffer.writeImmutableBuffer(first)
        buffer.writeImmutableBuffer(second)
    }

    /// Sends what was written; returns when the backlog is small again.
    func flush() async throws(QueueError) {
        do {
            try await connection.flush()
        } catch {
            throw .unavailable("\(error)")
        }
    }

    /// Writes the end of a message that went in parts.
    func end() {
        connection.write("END\n\n")
    }

    /// Waits for the reply to the message.
    func reply() async throws(QueueError) -> Frame {
        do {
            guard let frame = try await connection.readFrame(&parser) else {
                throw QueueError.unavailable("queue-manager closed the connection")
            }
            nextID = frame["next"] ?? ""
            return frame
        } catch let error as QueueError {
            throw error
        } catch let error as FrameError {
            throw .malformed(error.text)
        } catch {
            throw .unavailable("\(error)")
        }
    }

    /// A reply that came before the end of the message, such as that the disk is full; nil where there is none.
    func earlyReply() -> Frame? {
        try? parser.next(from: &connection.input)
    }

    /// Closes the connection; a message that has not been ended is thrown away.
    func abort() {
        nextID = ""
        connection.abort()
    }
}

/// The connections to queue-manager of one event loop that carry no message now.
final class QueuePool: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    private static let maximumIdle = 32

    private let path: String
    private let loop: any EventLoop
    private let timeout: TimeAmount
    private var idle: [QueueConnection] = []

    init(path: String, on loop: any EventLoop, timeout: TimeAmount) {
        self.path = path
        self.loop = loop
        self.timeout = timeout
    }

    /// A connection that is ready for a message.
    func take() async throws(QueueError) -> QueueConnection {
        while let connection = idle.popLast() {
            if connection.isUsable { return connection }
            connection.abort()
        }
        return try await QueueConnection.open(path: path, on: loop, timeout: timeout)
    }

    /// Gives back a connection that carries no message.
    func put(_ connection: QueueConnection) {
        if connection.isUsable && idle.count < Self.maximumIdle {
            idle.append(connection)
        } else {
            connection.abort()
        }
    }
}
