import ArgumentParser
import Daemon
import POP3Server

/// Mail out by POP3.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pop3d",
        abstract: "Gives users their mail by POP3.",
        discussion: "Two processes: one before login, and with --mailbox the one that opens mailboxes."
    )

    @Flag(help: "Be the process that opens mailboxes, for logins that the other one hands over.")
    var mailbox = false

    @OptionGroup var options: DaemonOptions

    func run() {
        if mailbox { POP3MailboxProgram().run(options) }
        POP3FrontProgram().run(options)
    }
}
