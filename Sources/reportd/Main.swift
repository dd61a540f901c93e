import ArgumentParser
import Daemon
import ReportService

/// Counts what came of mail and of TLS, and reports it to the domains that ask for it.
@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reportd",
        abstract: "Counts results of DMARC and TLS on run/report.sock and reports them to the domains that ask for it."
    )

    @OptionGroup var options: DaemonOptions

    func run() { ReportsProgram().run(options) }
}
