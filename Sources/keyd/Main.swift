import ArgumentParser
import Daemon
import KeyService

/// Holds the private keys.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keyd",
        abstract: "Holds the private keys of TLS and DKIM and signs with them on run/key.sock."
    )

    @OptionGroup var options: DaemonOptions

    func run() { KeyProgram().run(options) }
}
