import ArgumentParser
import Daemon
import RemoteRelay

/// Sends mail to other hosts.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remote-relay",
        abstract: "Sends mail to other hosts by SMTP, as queue-manager asks for on run/relay.sock."
    )

    @OptionGroup var options: DaemonOptions

    func run() { RelayProgram().run(options) }
}
