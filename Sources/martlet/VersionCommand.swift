import ArgumentParser
import Daemon

/// `martlet version`.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Says which Martlet this is.")

    @Flag(help: "For programs: one JSON object.") var json = false

    func run() {
        print(json ? "{\"version\":\"\(MartletVersion.current)\"}" : "martlet \(MartletVersion.current)")
    }
}
