import ArgumentParser
import Bus
import Daemon

/// `martlet dns transfer ZONE`
struct DNSTransferCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transfer",
        abstract: "Compares a secondary zone with its primaries at once, and fetches what is new.",
        discussion: "Prints the version that there is then. Fails where no primary was of use, and says why."
    )
    @OptionGroup var options: DNSControlOptions
    @Argument(help: "A secondary zone.") var zone: String

    func run() async throws {
        let last = try await options.ask("TRANSFER", name: zone).last
        if options.json {
            try JSONOutput.print(DNSControlDocument(last))
        } else {
            print("\(last["name"] ?? zone) serial \(last["serial"] ?? "")")
        }
    }
}
