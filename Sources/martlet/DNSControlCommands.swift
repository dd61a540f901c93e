import ArgumentParser
import Bus
import Daemon
import MIME

/// What every command takes that talks to resolverd.
struct DNSControlOptions: ParsableArguments {
    @OptionGroup var instance: InstanceOptions
    @Flag(help: "For programs: one JSON document.") var json = false

    /// Sends one request and gives the frames before the last one, and the last one.
    func ask(_ request: Frame) async throws -> (frames: [Frame], last: Frame) {
        try await DaemonControl.with(instance, "resolverd", "run/dns-control.sock") { control in
            var frames: [Frame] = []
            let last = try await control.ask(request) { frames.append($0) }
            return (frames, last)
        }
    }

    /// Sends one request about a name, or about all where nil.
    func ask(_ verb: String, name: String?) async throws -> (frames: [Frame], last: Frame) {
        var request = Frame(verb)
        request["name"] = name
        return try await ask(request)
    }

    /// Prints what frames say: their fields as JSON, or a line each.
    func show(_ frames: [Frame], line: (Frame) -> String) throws {
        if json {
            try JSONOutput.print(frames.map { DNSControlDocument($0) })
        } else {
            for frame in frames { print(line(frame)) }
        }
    }
}

/// A frame's fields as JSON; what may come several times is an array.
struct DNSControlDocument: Encodable {
    private let frame: Frame

    init(_ frame: Frame) { self.frame = frame }

    private struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        if frame.verb == "ENTRY" { try container.encode(frame.all("record"), forKey: Key(stringValue: "records")) }
        for field in frame.fields where field.name != "record" && field.name != "status" {
            if let number = Int(field.value), field.name != "name" {
                try container.encode(number, forKey: Key(stringValue: field.name))
            } else {
                try container.encode(field.value, forKey: Key(stringValue: field.name))
            }
        }
    }
}

/// `martlet dns cache`
struct DNSCacheCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cache",
        abstract: "Looks into resolverd's cache, and empties it.",
        subcommands: [List.self, Show.self, Flush.self, Statistics.self],
        defaultSubcommand: Statistics.self
    )

    /// `martlet dns cache list [NAME]`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "Lists what is cached, a line each: name, type, seconds left, answer, security."
        )
        @OptionGroup var options: DNSControlOptions
        @Argument(help: "Only this name, and names below it.") var name: String?

        func run() async throws {
            try options.show(try await options.ask("LIST", name: name).frames, line: DNSCacheCommand.line)
        }
    }

    /// `martlet dns cache show NAME`
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "Shows all that is cached of a name, with the records."
        )
        @OptionGroup var options: DNSControlOptions
        @Argument(help: "A name.") var name: String

        func run() async throws {
            let frames = try await options.ask("SHOW", name: name).frames
            try options.show(frames) { frame in
                ([DNSCacheCommand.line(frame)] + frame.all("record").map { "    \($0)" }).joined(separator: "\n")
            }
            if frames.isEmpty { throw ExitCode(1) }
        }
    }

    /// `martlet dns cache flush [NAME] [--below]`
    struct Flush: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "flush",
            abstract: "Forgets what is cached: all, or what is of one name."
        )
        @OptionGroup var options: DNSControlOptions
        @Flag(help: "Names below NAME too.") var below = false
        @Argument(help: "A name.") var name: String?

        func run() async throws {
            var request = Frame("FLUSH")
            request["name"] = name
            if below { request["below"] = "yes" }
            let last = try await options.ask(request).last
            if options.json {
                try JSONOutput.print(DNSControlDocument(last))
            } else {
                print("forgotten: \(last["count"] ?? "0")")
            }
        }
    }

    /// `martlet dns cache stats`
    struct Statistics: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "stats",
            abstract: "Says how full the cache is, and how many questions are under way."
        )
        @OptionGroup var options: DNSControlOptions

        func run() async throws {
            let last = try await options.ask(Frame("STATISTICS")).last
            if options.json {
                try JSONOutput.print(DNSControlDocument(last))
            } else {
                for field in last.fields where field.name != "status" { print("\(field.name): \(field.value)") }
            }
        }
    }

    fileprivate static func line(_ frame: Frame) -> String {
        let left = frame["ttl"] ?? ""
        let age = left.hasPrefix("-") ? "old" : "\(left)s"
        let words = [frame["name"], frame["type"], age, frame["code"], frame["security"], frame["reason"]]
        return QueueEntry.printable(words.compactMap { $0 }.joined(separator: " "))
    }
}

/// `martlet dns zones`
struct DNSZonesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "zones",
        abstract: "Lists resolverd's own zones, and those for which servers are configured."
    )
    @OptionGroup var options: DNSControlOptions

    func run() async throws {
        try options.show(try await options.ask(Frame("ZONES")).frames) { frame in
            let serial = frame["serial"].map { " serial \($0)" } ?? ""
            let records = frame["records"].map { " records \($0)" } ?? ""
            let line = "\(frame["name"] ?? "") \(frame["kind"] ?? "")\(serial)\(records)\(Self.state(frame))"
            return QueueEntry.printable(line)
        }
    }
}

extension DNSZonesCommand {
    /// How a secondary zone is; empty for others.
    fileprivate static func state(_ frame: Frame) -> String {
        guard let state = frame["state"] else { return "" }
        let times = [("confirmed", "confirmed"), ("expires", "expires"), ("next-check", "next check")]
        let parts = times.compactMap { field, name in
            frame[field].flatMap { Int($0) }.map { " \(name) \(DateTime(secondsSince1970: $0))" }
        }
        let reason = frame["reason"].map { " (\($0))" } ?? ""
        return " \(state)" + parts.joined(separator: ",") + reason
    }
}

/// `martlet dns servers`
struct DNSServersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "servers",
        abstract: "Lists the servers that resolverd has asked: how fast they answer, and whether they do.",
        discussion: "Each event loop has its own experience, so that a server may be there several times."
    )
    @OptionGroup var options: DNSControlOptions

    func run() async throws {
        try options.show(try await options.ask(Frame("SERVERS")).frames) { frame in
            let words = ["address", "kind", "state"].compactMap { frame[$0] }
            return words.joined(separator: " ") + " \(frame["milliseconds"] ?? "?") ms"
        }
    }
}

/// `martlet dns log [on|off]`
struct DNSLogCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "Switches resolverd's log of queries, or says whether it's on."
    )
    @OptionGroup var options: DNSControlOptions
    @Argument(help: "on or off.") var state: String?

    func run() async throws {
        var request = Frame("LOG")
        request["queries"] = state
        let last = try await options.ask(request).last
        if options.json {
            try JSONOutput.print(DNSControlDocument(last))
        } else {
            print("log of queries: \(last["queries"] ?? "")")
        }
    }
}

/// `martlet dns reload`
struct DNSReloadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Reads the local zones' files again. What is wrong with them is in resolverd's log."
    )
    @OptionGroup var options: DNSControlOptions

    func run() async throws { _ = try await options.ask(Frame("RELOAD")) }
}

/// `martlet dns sync [ZONE]`
struct DNSSyncCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sync",
        abstract: "Writes zones that were changed by updates to their files at once."
    )
    @OptionGroup var options: DNSControlOptions
    @Argument(help: "This zone only.") var zone: String?

    func run() async throws { _ = try await options.ask("SYNC", name: zone) }
}
