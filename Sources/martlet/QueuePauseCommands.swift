import ArgumentParser
import Bus
import Daemon
import SMTP
import NIOCore

/// Whose mail is paused.
struct QueuePauseSubject: ParsableArguments {
    @Option(
        help: ArgumentHelp("Mail of this reverse-path or user.", valueName: "address or @domain"),
        completion: QueueCompletion.senders
    ) var sender: String?
    @Option(help: "Mail that this user hands in.", completion: QueueCompletion.accounts) var account: String?
    @Option(help: "Mail for this domain; \"local\" for mailboxes here.", completion: QueueCompletion.destinations)
    var destination: String?

    var fields: [Frame.Field] {
        [("sender", sender), ("account", account), ("destination", destination)].compactMap { name, value in
            value.map { Frame.Field(name, $0) }
        }
    }
}

/// `martlet queue pause`
struct QueuePauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Has a sender's or a destination's mail wait as it comes, also what waits already.",
        discussion: "`martlet queue pauses` lists what is paused; `martlet queue resume` ends it."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var subject: QueuePauseSubject
    @Option(name: .customLong("for"), help: ArgumentHelp("How long.", valueName: "30m, 4h, 2d")) var duration: String?
    @Option(help: ArgumentHelp("Until when.", valueName: "2026-12-01T08:00:00Z")) var until: String?
    @Option(help: "Why, for those who look.") var reason: String?

    func validate() throws {
        guard subject.fields.count == 1 else {
            throw ValidationError("One of --sender, --account and --destination says whose mail.")
        }
        guard duration == nil || until == nil else { throw ValidationError("--for or --until, not both.") }
        _ = try end(from: 0)
    }

    /// Seconds since 1970, as `now`.
    private func end(from now: Int) throws -> Int? {
        if let until {
            guard let time = InternetTimestamp.seconds(until.utf8) else {
                throw ValidationError("--until is a time such as 2026-12-01T08:00:00Z")
            }
            return Int(time)
        }
        guard let duration else { return nil }
        guard let time = Quantity.duration(duration) else {
            throw ValidationError("--for is a time such as 30m, 4h or 2d")
        }
        return now + Int(time.nanoseconds / 1_000_000_000)
    }

    func run() async throws {
        var request = Frame("PAUSE", subject.fields)
        request["until"] = try end(from: QueueEntry.now).map { String($0) }
        request["reason"] = reason
        try await QueueReply.show(request, options, "paused")
    }
}

/// `martlet queue resume`
struct QueueResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Ends pauses; what waited is tried."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var subject: QueuePauseSubject
    @Flag(help: "All pauses.") var all = false

    func validate() throws {
        guard subject.fields.count == (all ? 0 : 1) else {
            throw ValidationError("One of --sender, --account and --destination, or --all, says which.")
        }
    }

    func run() async throws {
        var request = Frame("RESUME", subject.fields)
        request["all"] = all ? "yes" : nil
        try await QueueReply.show(request, options, all ? "pauses ended" : "resumed")
    }
}

/// A pause as commands show it.
struct QueuePauseEntry: Encodable, Sendable {
    let sender: String?
    let account: String?
    let destination: String?
    /// Seconds since 1970.
    let since: Int
    /// Likewise; nil where it doesn't end by itself.
    let until: Int?
    let reason: String?

    init(_ frame: Frame) {
        sender = frame["sender"]
        account = frame["account"]
        destination = frame["destination"]
        since = frame.integer("since") ?? 0
        until = frame.integer("until")
        reason = frame["reason"]
    }

    /// A line for people.
    var text: String {
        let whose =
            sender.map { "mail from \($0.isEmpty ? "<>" : $0)" } ?? account.map { "mail of user \($0)" }
            ?? "mail for \(destination ?? "")"
        let end = until.map { ", until \(InternetTimestamp.text(Int64($0)))" } ?? ""
        let line = "\(whose), for \(QueueEntry.age(QueueEntry.now - since))\(end)\(reason.map { ": \($0)" } ?? "")"
        return QueueEntry.printable(line)
    }

    static func all(_ control: DaemonControl) async throws -> [QueuePauseEntry] {
        var entries: [QueuePauseEntry] = []
        _ = try await control.ask(Frame("PAUSES")) { entries.append(QueuePauseEntry($0)) }
        return entries
    }
}

/// `martlet queue pauses`
struct QueuePausesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "pauses", abstract: "Lists what is paused, and why.")

    @OptionGroup var options: QueueOptions

    func run() async throws {
        let entries = try await QueueControl.with(options) { try await QueuePauseEntry.all($0) }
        if options.json {
            try JSONOutput.print(entries)
        } else {
            for entry in entries { print(entry.text) }
            if entries.isEmpty { print("Nothing is paused.") }
        }
    }
}
