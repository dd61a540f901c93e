import ArgumentParser
import Authority
import Daemon

/// Knows users, passwords and aliases.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "authd",
        abstract: "Verifies passwords and answers questions about addresses, on run/auth.sock."
    )

    @OptionGroup var options: DaemonOptions

    func run() { AuthorityProgram().run(options) }
}
