import ArgumentParser
import Bus
import NIOCore

/// `martlet queue list`
struct QueueListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists what is in the queue, and why it waits.",
        discussion: "Up to 10,000 messages come oldest first; more come as they are found."
    )

    @OptionGroup var options: QueueOptions
    @Option(help: "Only messages for this domain; \"local\" for mailboxes here.") var domain: String?
    @Option(help: "Only messages from this reverse-path, or handed in by this user.") var sender: String?
    @Option(help: "Only messages for this address.") var recipient: String?
    @Option(help: "Only messages in this state: queued, active, deferred, held.") var state: String?

    private static let sorted = 10_000

    func run() async throws {
        var request = Frame("LIST")
        request["destination"] = domain
        request["sender"] = sender
        request["recipient"] = recipient
        request["state"] = state
        let (question, json) = (request, options.json)
        try await QueueControl.with(options) { control in
            let output = Output(json: json)
            _ = try await control.ask(question) { frame in try output.add(QueueEntry(frame)) }
            try output.finish()
        }
    }

    /// Sorts what fits, then prints as it comes.
    private final class Output {
        private let json: Bool
        private var held: [QueueEntry] = []
        private var count = 0

        init(json: Bool) { self.json = json }

        func add(_ entry: QueueEntry) throws {
            if count + held.count < QueueListCommand.sorted {
                held.append(entry)
                return
            }
            try flush()
            try show(entry)
        }

        private func flush() throws {
            for entry in held.sorted(by: { $0.id < $1.id }) { try show(entry) }
            held = []
        }

        private func show(_ entry: QueueEntry) throws {
            if json {
                print(count == 0 ? "[" : ",", terminator: "")
                try JSONOutput.print(entry)
            } else {
                print(entry.text)
            }
            count += 1
        }

        func finish() throws {
            try flush()
            if json {
                print(count == 0 ? "[]" : "]")
            } else {
                print(count == 0 ? "The queue is empty." : "\(count) \(count == 1 ? "message" : "messages").")
            }
        }
    }
}

/// `martlet queue show`
struct QueueShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Shows a message's envelope, what happened to it so far, and its header."
    )

    @OptionGroup var options: QueueOptions
    @Argument(help: "The message's ID.") var id: String

    private struct Shown: Encodable {
        let message: QueueEntry
        let header: String
    }

    func run() async throws {
        let id = id
        let reply = try await QueueControl.with(options) { try await $0.ask(Frame("SHOW", ["id": id])) }
        let header = reply.body.map { String(buffer: $0) } ?? ""
        if options.json {
            try JSONOutput.print(Shown(message: QueueEntry(reply), header: header))
            return
        }
        print(QueueEntry(reply).text)
        print("")
        for line in header.utf8.split(separator: 10, omittingEmptySubsequences: false) {
            let text = String(decoding: line.last == 13 ? line.dropLast() : line, as: UTF8.self)
            print(QueueEntry.printable(text.replacing("\t", with: "    ")))
        }
    }
}
