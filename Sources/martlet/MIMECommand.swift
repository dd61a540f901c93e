import ArgumentParser

/// `martlet mime`: looks into messages.
struct MIMECommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mime",
        abstract: "Looks into messages.",
        subcommands: [
            MIMEShowCommand.self, MIMEPartsCommand.self, MIMEExtractCommand.self, MIMEHeadersCommand.self,
            MIMECheckCommand.self, MIMEBuildCommand.self, MIMETextCommand.self, MIMEReportCommand.self,
            MIMEJoinCommand.self,
        ]
    )
}
