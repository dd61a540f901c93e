import Bus
import Daemon
import NIOCore
import NIOPosix
import Network

/// A connection to a daemon's control socket.
struct DaemonControl {
    /// Why there is no answer, for standard error.
    struct Failure: Error, CustomStringConvertible {
        let description: String
        /// The daemon's answer, where there was one.
        var answer: Frame?
    }

    private let connection: Connection
    private let daemon: String

    /// Runs the body on an event loop with a connection to one of the instance's daemons.
    static func with<Value: Sendable>(
        _ instance: InstanceOptions,
        _ daemon: String,
        _ path: String,
        _ body: @escaping @Sendable (DaemonControl) async throws -> Value
    ) async throws -> Value {
        try instance.enter()
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return try await Task(executorPreference: LoopExecutor.of(loop)) {
            let connection: Connection
            do {
                connection = try await Connection.connect(unix: path, on: loop)
            } catch {
                throw Failure(description: "\(daemon) does not answer on \(path): \(error)")
            }
            defer { connection.close() }
            return try await body(DaemonControl(connection: connection, daemon: daemon))
        }.value
    }

    /// Sends a request, gives each frame before the last one to the closure, and returns the last one.
    func ask(_ request: Frame, each: (Frame) throws -> Void = { _ in }) async throws -> Frame {
        connection.write(request)
        try await connection.flush()
        var parser = FrameParser()
        while let frame = try await connection.readFrame(&parser) {
            switch frame.replyKind {
            case .ok: return frame
            case .defer, .reject: throw Failure(description: frame["text"] ?? frame.verb, answer: frame)
            case nil: try each(frame)
            }
        }
        throw Failure(description: "\(daemon) closed the connection")
    }
}
