import ArgumentParser
import Daemon
import PipeDelivery

/// Gives mail to programs.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pipe-deliver",
        abstract: "Gives the mail that queue-manager brings on run/pipe.sock to programs."
    )

    @OptionGroup var options: DaemonOptions

    func run() { PipeProgram().run(options) }
}
