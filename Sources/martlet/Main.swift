import ArgumentParser

#if canImport(Glibc)
import Glibc
#endif

/// The administrator's command.
@main struct Martlet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "Looks after a Martlet mail system.",
        subcommands: [
            QueueCommand.self, TraceCommand.self, UserCommand.self, AliasCommand.self, DomainCommand.self,
            StatusCommand.self,
            CheckCommand.self, PolicyCommand.self, GreylistCommand.self, DNSCommand.self,
            MIMECommand.self, AuthCommand.self, DKIMCommand.self, ARCCommand.self,
            SPFCommand.self, DMARCCommand.self, TLSCommand.self, TLSReportCommand.self, VersionCommand.self,
        ]
    )

    /// `--instance DIR` may stand in front of the subcommand as well as behind it.
    static func main() async {
        var arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.count >= 2, arguments[0] == "--instance" {
            setenv("MARTLET_INSTANCE", arguments[1], 1)
            arguments.removeFirst(2)
        }
        await main(arguments)
    }
}
