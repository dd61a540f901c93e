import ArgumentParser
import Daemon
import LocalDelivery

/// Puts mail into mailboxes.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "local-deliver",
        abstract: "Puts mail into mailboxes, as queue-manager asks for on run/deliver.sock."
    )

    @OptionGroup var options: DaemonOptions

    func run() { LocalDeliveryProgram().run(options) }
}
