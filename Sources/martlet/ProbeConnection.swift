import NIOCore
import NIOPosix
import Network

/// A connection that a check makes to see who is there, and ends at once.
enum ProbeConnection {
    /// Connects, and gives the connection to the closure.
    ///
    /// - Throws: `ConnectionError`, or what the closure throws.
    static func run<Value: Sendable>(
        to address: SocketAddress,
        timeout: TimeAmount,
        _ look: @escaping @Sendable (Connection) async throws -> Value
    ) async throws -> Value {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return try await Task(executorPreference: LoopExecutor.of(loop)) {
            let connection = try await Connection.connect(to: address, on: loop, timeout: timeout)
            defer { connection.abort() }
            return try await look(connection)
        }.value
    }
}
