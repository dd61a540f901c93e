import NIOCore

/// Hands messages to queue-manager, any number at a time, over connections that are kept. Belongs to one event loop.
package final class SubmissionClient: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private static let maximumIdle = 32

    private let path: String
    private let loop: any EventLoop
    private let timeout: TimeAmount
    private var idle: [QueueConnection] = []

    /// - Parameters:
    ///   - path: of queue-manager's socket, as this process sees it.
    ///   - timeout: how long queue-manager may take for an answer, and for each piece of a message.
    package init(path: String, on loop: any EventLoop, timeout: TimeAmount = .minutes(5)) {
        self.path = path
        self.loop = loop
        self.timeout = timeout
    }

    /// Checks that a message could be begun now, as far as is known.
    package func prepare() async throws(SubmissionError) {
        loop.assertInEventLoop()
        dropUnusable()
        if idle.isEmpty { release(try await connect()) }
    }

    /// Begins a message. Its ID is known from now on; queue-manager hears of it when there is enough to send.
    package func begin(_ envelope: SubmissionEnvelope) async throws(SubmissionError) -> MessageSubmission {
        loop.assertInEventLoop()
        dropUnusable()
        let connection: QueueConnection
        if let kept = idle.popLast() { connection = kept } else { connection = try await connect() }
        return MessageSubmission(envelope, over: connection, of: self)
    }

    private func connect() async throws(SubmissionError) -> QueueConnection {
        try await QueueConnection.open(path: path, on: loop, timeout: timeout)
    }

    /// From the end, where the next one is taken.
    private func dropUnusable() {
        while let last = idle.last, !last.isUsable {
            last.abort()
            idle.removeLast()
        }
    }

    /// Takes back a connection that carries no message.
    func release(_ connection: QueueConnection) {
        loop.assertInEventLoop()
        if connection.isUsable, idle.count < Self.maximumIdle {
            idle.append(connection)
        } else {
            connection.abort()
        }
    }
}
