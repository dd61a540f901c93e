import ArgumentParser
import Bus
import Daemon
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// What waits, by destination and reason.
struct QueueSummary: Encodable, Sendable {
    struct Group: Encodable, Sendable {
        let destination: String
        let reason: String
        let messages: Int
        let octets: Int
        /// Seconds since 1970.
        let oldest: Int
        /// When the first of them is tried again. Seconds since 1970.
        let next: Int?

        init(_ frame: Frame) {
            destination = frame["destination"] ?? ""
            reason = frame["reason"] ?? ""
            messages = frame.integer("messages") ?? 0
            octets = frame.integer("octets") ?? 0
            oldest = frame.integer("oldest") ?? 0
            next = frame.integer("next")
        }
    }

    /// Messages that were asked for, and their octets.
    let messages: Int
    let octets: Int
    /// Seconds since 1970.
    let oldest: Int?
    /// The largest.
    let groups: [Group]
    /// How many there are.
    let groupCount: Int
    /// Of all messages.
    let queued: Int
    let active: Int
    let deferred: Int
    let held: Int
    let pauses: [QueuePauseEntry]

    static func ask(_ control: DaemonControl, _ request: Frame) async throws -> QueueSummary {
        var groups: [Group] = []
        let last = try await control.ask(request) { groups.append(Group($0)) }
        return QueueSummary(
            messages: last.integer("count") ?? 0,
            octets: last.integer("octets") ?? 0,
            oldest: last.integer("oldest"),
            groups: groups,
            groupCount: last.integer("groups") ?? 0,
            queued: last.integer("queued") ?? 0,
            active: last.integer("active") ?? 0,
            deferred: last.integer("deferred") ?? 0,
            held: last.integer("held") ?? 0,
            pauses: try await QueuePauseEntry.all(control)
        )
    }

    /// For people.
    var text: String {
        let now = QueueEntry.now
        var lines = ["\(queued) queued, \(active) active, \(deferred) deferred, \(held) held"]
        if messages > 0 {
            let age = oldest.map { ", the oldest \(QueueEntry.age(now - $0)) old" } ?? ""
            lines.append("\(messages) \(messages == 1 ? "message" : "messages"), \(octets) octets\(age)")
        }
        lines += pauses.map { "paused: \($0.text)" }
        if !groups.isEmpty {
            lines.append("")
            lines.append("messages   oldest     next  destination: reason")
        }
        for group in groups {
            let next = group.next.map { QueueEntry.age(max(0, $0 - now)) } ?? "-"
            let numbers = [String(group.messages), QueueEntry.age(now - group.oldest), next]
            let columns = numbers.map { String(repeating: " ", count: max(0, 8 - $0.utf8.count)) + $0 }
            lines.append("\(columns.joined(separator: " "))  \(group.destination): \(group.reason)")
        }
        if groupCount > groups.count { lines.append("… and \(groupCount - groups.count) more") }
        return lines.map(QueueEntry.printable).joined(separator: "\n")
    }
}

/// What both commands take.
struct QueueSummaryOptions: ParsableArguments {
    @OptionGroup var options: QueueOptions
    @OptionGroup var filter: QueueFilterOptions
    @Option(help: "How many destinations and reasons are shown, the largest first.") var top = 20

    func validate() throws {
        guard (0...100_000).contains(top) else { throw ValidationError("--top is a number up to 100000") }
    }

    func request() throws -> Frame {
        var request = Frame("SUMMARY", try filter.fields)
        request["limit"] = String(top)
        return request
    }
}

/// `martlet queue summary`
struct QueueSummaryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "summary",
        abstract: "Counts what waits by destination and reason, and says what is paused."
    )

    @OptionGroup var summary: QueueSummaryOptions

    func run() async throws {
        let request = try summary.request()
        let answer = try await QueueControl.with(summary.options) { try await QueueSummary.ask($0, request) }
        if summary.options.json { try JSONOutput.print(answer) } else { print(answer.text) }
    }
}

/// `martlet queue watch`
struct QueueWatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Shows the summary again and again, until it's interrupted."
    )

    @OptionGroup var summary: QueueSummaryOptions
    @Option(help: ArgumentHelp("How often.", valueName: "2s, 1m")) var interval = "2s"
    @Option(help: "How many times; without, until it's interrupted.") var times: Int?

    func validate() throws {
        guard let time = Quantity.duration(interval), time >= .milliseconds(100) else {
            throw ValidationError("--interval is a time such as 2s or 1m, of at least 100ms")
        }
    }

    func run() async throws {
        let request = try summary.request()
        let json = summary.options.json
        // So that the last one stays.
        let clear = isatty(STDOUT_FILENO) == 1 && !json ? "\u{1B}[H\u{1B}[2J" : ""
        let pause = Quantity.duration(interval)?.nanoseconds ?? 0
        var left = times ?? .max
        while left > 0 {
            left -= 1
            // A connection each time: queue-manager may be restarted meanwhile.
            do {
                let answer = try await QueueControl.with(summary.options) { try await QueueSummary.ask($0, request) }
                if json { try JSONOutput.print(answer) } else { print(clear + answer.text) }
            } catch let failure as DaemonControl.Failure where failure.answer == nil {
                // It may be on its way back. What it has refused it would refuse again.
                if !json { print(clear, terminator: "") }
                let line = "Error: \(failure)\n"
                _ = write(STDERR_FILENO, line, line.utf8.count)
            }
            fflush(nil)
            if left > 0 { try await Task.sleep(nanoseconds: UInt64(pause)) }
        }
    }
}
