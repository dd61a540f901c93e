import ArgumentParser
import Daemon
import ResolverService

@main
struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resolverd",
        abstract: "Answers DNS questions from local zones, its cache and other servers."
    )

    @OptionGroup var options: DaemonOptions

    func run() { ResolverDaemon().run(options) }
}
