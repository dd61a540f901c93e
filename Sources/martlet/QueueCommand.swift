import ArgumentParser
import Bus
import Daemon
import NIOCore
import NIOPosix
import Network

/// `martlet queue`: what waits, and what to do with it.
struct QueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue",
        abstract: "Looks into the mail queue and changes what is in it.",
        subcommands: [
            QueueListCommand.self, QueueShowCommand.self, QueueFlushCommand.self, QueueHoldCommand.self,
            QueueReleaseCommand.self, QueueRequeueCommand.self, QueueRemoveCommand.self, QueueBounceCommand.self,
            QueueStatisticsCommand.self,
        ],
        defaultSubcommand: QueueListCommand.self
    )
}

/// What every `martlet queue …` takes.
struct QueueOptions: ParsableArguments {
    @OptionGroup var instance: InstanceOptions
    @Flag(help: "For programs: one JSON document.") var json = false
}

/// A conversation with queue-manager over control.sock.
struct QueueControl {
    /// Why there is no answer, for standard error.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let connection: Connection

    /// Runs the body on an event loop with a connection to the instance's queue-manager.
    static func with<Value: Sendable>(
        _ options: QueueOptions,
        _ body: @escaping @Sendable (QueueControl) async throws -> Value
    ) async throws -> Value {
        try options.instance.enter()
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return try await Task(executorPreference: LoopExecutor.of(loop)) {
            let connection: Connection
            do {
                connection = try await Connection.connect(unix: "run/control.sock", on: loop)
            } catch {
                throw Failure(description: "queue-manager does not answer on run/control.sock: \(error)")
            }
            defer { connection.close() }
            return try await body(QueueControl(connection: connection))
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
            case .defer, .reject: throw Failure(description: frame["text"] ?? frame.verb)
            case nil: try each(frame)
            }
        }
        throw Failure(description: "queue-manager closed the connection")
    }
}
