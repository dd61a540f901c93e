import ArgumentParser
import Daemon
import SMTPServer

/// Receives mail by SMTP: from other hosts, and from users.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "smtpd",
        abstract: "Receives mail by SMTP: from other hosts, and from users who log in."
    )

    @OptionGroup var options: DaemonOptions

    func run() { SMTPDProgram().run(options) }
}
