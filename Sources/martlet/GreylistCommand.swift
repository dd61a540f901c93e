import ArgumentParser
import Authority
import Bus
import Daemon
import MIME

#if canImport(Glibc)
import Glibc
#endif

/// `martlet greylist`: who has come back, and who need not.
struct GreylistCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "greylist",
        abstract: "Shows and changes what greylisting remembers.",
        subcommands: [List.self, Pass.self, Remove.self]
    )

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists what is remembered, as authd has written it within the last second or two."
        )

        @OptionGroup var instance: InstanceOptions
        @Option(help: "Only lines with this in them.") var matching: String?
        @Flag(help: "For programs: one JSON document.") var json = false

        func run() throws {
            try instance.enter()
            // With authd's own limits: it shows what authd has.
            let settings = GreylistSettings(try Configuration.load("etc/martlet.toml").authd.greylist)
            let directory = AuthdConfiguration.stateDirectory
            guard let list = Greylist(reading: directory, settings) ?? (errno == ENOENT ? Greylist(settings) : nil)
            else {
                throw ValidationError("cannot read the greylist in \(directory)/: \(String(cString: strerror(errno)))")
            }
            let entries = list.entries.map(GreylistEntry.init).filter { entry in
                matching.map { entry.line.contains($0) } ?? true
            }
            if json { return try JSONOutput.print(entries) }
            for entry in entries { print(entry.line) }
        }
    }

    struct Pass: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets a network, or a domain as SPF and DKIM show it, pass from now on."
        )

        @OptionGroup var instance: InstanceOptions
        @Argument(help: "Such as 192.0.2.0/24 or example.com.") var name: String

        func run() async throws { _ = try await GreylistCommand.ask("GREYLIST-PASS", name, instance) }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forgets what has to do with a network, a domain or an address."
        )

        @OptionGroup var instance: InstanceOptions
        @Argument(help: "Such as 192.0.2.0/24, example.com or ann@example.com.") var name: String

        func run() async throws {
            let reply = try await GreylistCommand.ask("GREYLIST-REMOVE", name, instance)
            print("\(reply["count"] ?? "0") forgotten")
        }
    }

    private static func ask(_ verb: String, _ name: String, _ instance: InstanceOptions) async throws -> Frame {
        try instance.enter()
        let reply = try await BusClient.ask("run/auth.sock", Frame(verb, ["name": name]))
        guard reply.replyKind == .ok else { throw ValidationError("authd says: \(reply["text"] ?? reply.verb)") }
        return reply
    }
}

/// What is remembered, as commands show it.
private struct GreylistEntry: Encodable {
    let kind: String
    let network: String?
    let domain: String?
    let sender: String?
    let recipient: String?
    /// Seconds since 1970.
    let first: Int
    let last: Int
    /// Times that it passed; 0 for who has not come back.
    let passes: Int
    /// Whether the administrator lets it pass.
    let permanent: Bool

    init(_ entry: (key: Greylist.Key, record: Greylist.Record)) {
        switch entry.key {
        case .triplet(let network, let sender, let recipient):
            (kind, self.network, domain) = ("triplet", network, nil)
            (self.sender, self.recipient) = (sender, recipient)
        case .network(let network):
            (kind, self.network, domain, sender, recipient) = ("network", network, nil, nil, nil)
        case .identity(let name):
            (kind, network, domain, sender, recipient) = ("domain", nil, name, nil, nil)
        }
        first = entry.record.first
        last = entry.record.last
        passes = max(0, entry.record.passes)
        permanent = entry.record.isPermanent
    }

    /// For people.
    var line: String {
        let what =
            kind == "triplet" ? "\(network ?? "") <\(sender ?? "")> <\(recipient ?? "")>" : network ?? domain ?? ""
        let state =
            permanent
            ? "passes, by the administrator" : passes == 0 ? "has not come back" : "passed \(passes) times"
        return "\(what): \(state), last \(DateTime(secondsSince1970: last))"
    }
}
