import ArgumentParser
import Daemon
import POP3Server

/// Mail out by POP3: the process that clients reach before login.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pop3d",
        abstract: "Gives users their mail by POP3."
    )

    @OptionGroup var options: DaemonOptions

    func run() { FrontProgram().run(options) }
}
