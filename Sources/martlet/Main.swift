import ArgumentParser

/// The administrator's command.
@main struct Martlet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "Looks after a Martlet mail system.",
        subcommands: [
            QueueCommand.self, UserCommand.self, StatusCommand.self, CheckCommand.self, DNSCommand.self,
            VersionCommand.self,
        ]
    )
}
