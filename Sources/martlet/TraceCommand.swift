import ArgumentParser
import Daemon
import NIOCore
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// `martlet trace ID|MESSAGE-ID|ADDRESS`
struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Tells one message's life by the logs of all daemons.",
        discussion: """
            By its ID in the queue, by its Message-ID (<…>), or by the address of a sender or recipient, which finds all of their \
            messages. Messages that come of it (reports, forwarded mail) are followed. Reads the logs below the instance's log/, \
            or, where there are none, the journal of systemd.
            """
    )

    @OptionGroup var instance: InstanceOptions
    @Option(help: ArgumentHelp("How far back.", valueName: "2h, 3d, or 2026-12-01T08:00:00Z")) var since: String?
    @Flag(help: "Reads the journal of systemd, whatever is below log/.") var journal = false
    @Flag(help: "For programs: one JSON document.") var json = false
    @Argument(help: "A message's ID in the queue, its Message-ID, or an address.") var what: String

    /// One line of a log.
    private struct Event: Encodable {
        /// As the log has it.
        let time: String
        let daemon: String
        let text: String
    }

    func validate() throws {
        guard start != nil else { throw ValidationError("--since is a time such as 2h or 3d, or 2026-12-01T08:00:00Z") }
        guard !what.isEmpty else { throw ValidationError("What should be looked for?") }
    }

    /// From when lines are read. Seconds since 1970; nil where --since makes no sense.
    private var start: Int? {
        guard let since else { return 0 }
        if let time = InternetTimestamp.seconds(since.utf8) { return Int(time) }
        return Quantity.duration(since).map { QueueEntry.now - Int($0.nanoseconds / 1_000_000_000) }
    }

    func run() throws {
        try instance.enter()
        let logs = journal ? [] : InstanceLogs.services
        let source: LogSource = logs.isEmpty ? .journal : .directories(logs)
        var trace = MessageTrace(what)
        // What a line leads to may stand in lines that were passed.
        repeat {
            trace.begin()
            try source.forEachLine(since: start ?? 0) { trace.add($0) }
        } while trace.isOpen
        let lines = trace.lines.sorted()
        if json {
            try JSONOutput.print(lines.map { Event(time: $0.time, daemon: $0.daemon, text: $0.text) })
        } else {
            for line in lines { print(TerminalText.make("\(line.time)  \(line.daemon)  \(line.text)".utf8)) }
            if trace.isCut { print("… and more: --since shows less") }
        }
        if lines.isEmpty {
            throw DaemonControl.Failure(description: "nothing in the logs about \(what)")
        }
    }
}
