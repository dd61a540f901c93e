import ArgumentParser
import Bus
import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// `martlet dns anchors`
struct DNSAnchorsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "anchors",
        abstract: "Lists the keys in which resolverd's trust begins, and where each is on its way (RFC 5011).",
        discussion: """
            valid: trusted; pending: seen, and trusted when it has been there for long enough; missing: trusted, but not in
            the zone any more; revoked and removed: not trusted again; configured: trusted, and not seen yet; fixed: keys
            aren't followed.
            """
    )
    @OptionGroup var options: DNSControlOptions

    func run() async throws {
        let now = Int(time(nil))
        try options.show(try await options.ask(Frame("ANCHORS")).frames) { frame in
            let words = ["name", "key-tag", "algorithm", "state"].compactMap { frame[$0] }
            let since = frame["since"].flatMap { Int($0) }.map { " for \(Self.days(now - $0))" } ?? ""
            let until = frame["until"].flatMap { Int($0) }.map { ", \(Self.days($0 - now)) left" } ?? ""
            return words.joined(separator: " ") + since + until
        }
    }

    private static func days(_ seconds: Int) -> String { "\(max(seconds, 0) / 86_400) days" }
}
