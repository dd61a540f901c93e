import ArgumentParser
import Daemon
import QueueManager

/// Owns the spool: durable intake, schedule, retries and delivery reports.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue-manager",
        abstract: "Owns the mail queue: durable intake, schedule, retries and delivery reports."
    )

    @OptionGroup var options: DaemonOptions

    func run() { QueueManagerProgram().run(options) }
}
