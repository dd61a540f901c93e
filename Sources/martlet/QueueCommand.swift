import ArgumentParser
import Daemon

/// `martlet queue`: inspects and changes the mail queue.
struct QueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue",
        abstract: "Looks into the mail queue and changes what is in it.",
        subcommands: [
            QueueListCommand.self, QueueShowCommand.self, QueueFlushCommand.self, QueueHoldCommand.self,
            QueueReleaseCommand.self, QueueRequeueCommand.self, QueueRerouteCommand.self, QueueRemoveCommand.self,
            QueueBounceCommand.self, QueueExpireCommand.self, QueuePauseCommand.self, QueueResumeCommand.self,
            QueuePausesCommand.self, QueueSummaryCommand.self, QueueWatchCommand.self, QueueStatisticsCommand.self,
            QueueFsckCommand.self,
        ],
        defaultSubcommand: QueueListCommand.self
    )
}

/// What every `martlet queue …` takes.
struct QueueOptions: ParsableArguments {
    @OptionGroup var instance: InstanceOptions
    @Flag(help: "For programs: one JSON document.") var json = false
}

/// Connections to queue-manager's control socket.
enum QueueControl {
    /// Runs the body with a connection to the instance's queue-manager.
    static func with<Value: Sendable>(
        _ options: QueueOptions,
        _ body: @escaping @Sendable (DaemonControl) async throws -> Value
    ) async throws -> Value {
        try await DaemonControl.with(options.instance, "queue-manager", "run/control.sock", body)
    }
}
