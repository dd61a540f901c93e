import ArgumentParser
import Bus
import SMTP
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// `martlet queue list`
struct QueueListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists what is in the queue, oldest first, and why it waits."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var selection: QueueSelectionOptions
    @Option(
        help: ArgumentHelp("Lines with these columns, with a tab between them.", valueName: "id,age,…"),
        completion: QueueCompletion.columns
    ) var columns: String?
    @Option(help: "So many messages at most.") var limit: Int?
    @Option(
        help: ArgumentHelp("Only messages behind this one.", valueName: "id"),
        completion: QueueCompletion.ids
    ) var after: String?

    /// How many messages are asked for at a time.
    private static let page = 2000

    func validate() throws {
        _ = try columns.map { try QueueColumn.parse($0) }
        if let limit, limit < 1 { throw ValidationError("--limit is at least 1") }
    }

    func run() async throws {
        let (json, columns) = (options.json, try columns.map { try QueueColumn.parse($0) })
        let (fields, limit, after) = (try selection.fields, limit, after)
        try await QueueControl.with(options) { control in
            let output = Output(json: json, columns: columns)
            var (left, next) = (limit ?? .max, after)
            repeat {
                var request = Frame("LIST", fields)
                request["limit"] = String(min(left, Self.page))
                request["after"] = next
                let last = try await control.ask(request) { frame in try output.add(QueueEntry(frame)) }
                left -= last.integer("count") ?? 0
                next = last["next"]
            } while left > 0 && next != nil
            output.finish(next: next)
        }
    }

    /// Prints messages as they come.
    private final class Output {
        private let json: Bool
        private let columns: [QueueColumn]?
        private var count = 0

        init(json: Bool, columns: [QueueColumn]?) {
            self.json = json
            self.columns = columns
        }

        func add(_ entry: QueueEntry) throws {
            defer { count += 1 }
            if json {
                print(count == 0 ? "[" : ",", terminator: "")
                try JSONOutput.print(entry)
            } else if let columns {
                if count == 0, isatty(STDOUT_FILENO) == 1 { print(columns.map(\.rawValue).joined(separator: "\t")) }
                for line in QueueColumn.lines(columns, entry) { print(line) }
            } else {
                print(entry.text)
            }
        }

        /// - Parameter next: the last message that was listed, where there are more.
        func finish(next: String?) {
            if json { return print(count == 0 ? "[]" : "]") }
            if columns != nil { return }
            if count == 0 { return print("The queue is empty.") }
            print("\(count) \(count == 1 ? "message" : "messages")\(next.map { "; more with --after \($0)" } ?? "").")
        }
    }
}

/// `martlet queue show`
struct QueueShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract:
            "Shows a message's envelope, what was tried and what was said to it, when it's tried next, and its header."
    )

    @OptionGroup var options: QueueOptions
    @Argument(help: "The message's ID.", completion: QueueCompletion.ids) var id: String

    private struct Shown: Encodable {
        let message: QueueEntry
        let history: [Event]
        let header: String
    }

    /// Something that happened to the message, or to one recipient.
    private struct Event: Encodable {
        /// Seconds since 1970.
        let time: Int
        let recipient: String?
        /// What happened, and the words of whoever said so.
        let text: String

        init?(_ line: String) {
            let words = line.split(separator: " ", maxSplits: 2)
            guard words.count == 3, let time = Int(words[0]) else { return nil }
            self.time = time
            recipient = words[1] == "-" ? nil : String(words[1])
            text = String(words[2])
        }
    }

    func run() async throws {
        let id = id
        let reply = try await QueueControl.with(options) { try await $0.ask(Frame("SHOW", ["id": id])) }
        let header = reply.body.map { String(buffer: $0) } ?? ""
        let history = reply.all("history").compactMap { Event($0) }
        if options.json {
            try JSONOutput.print(Shown(message: QueueEntry(reply), history: history, header: header))
            return
        }
        print(QueueEntry(reply).text)
        for event in history {
            let whose = event.recipient.map { " \($0)" } ?? ""
            print(QueueEntry.printable("\(InternetTimestamp.text(Int64(event.time)))\(whose): \(event.text)"))
        }
        print("")
        for line in header.utf8.split(separator: 10, omittingEmptySubsequences: false) {
            let text = String(decoding: line.last == 13 ? line.dropLast() : line, as: UTF8.self)
            print(QueueEntry.printable(text.replacing("\t", with: "    ")))
        }
    }
}
