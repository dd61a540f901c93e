import ArgumentParser
import Daemon
import IMAPServer

/// Gives users their mail by IMAP.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "imapd",
        abstract: "Gives users their mail by IMAP: the front, or with --mailbox the process behind it."
    )

    @Flag(help: "Be the mailbox process, which serves sessions after login.")
    var mailbox = false

    @OptionGroup var options: DaemonOptions

    func run() {
        if mailbox { IMAPMailboxProgram().run(options) } else { IMAPFrontProgram().run(options) }
    }
}
