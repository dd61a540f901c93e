import ArgumentParser
import Bus

/// A command that does one thing to some messages.
protocol QueueChange: AsyncParsableCommand {
    static var verb: String { get }
    /// What has become of them, for people.
    static var result: String { get }
    var options: QueueOptions { get }
    var ids: [String] { get }
    var text: String? { get }
}

extension QueueChange {
    var text: String? { nil }

    func run() async throws {
        var request = Frame(Self.verb, ids.map { Frame.Field("id", $0) })
        request["text"] = text
        try await QueueReply.show(request, options, Self.result)
    }
}

/// The answer to a command that changes something.
struct QueueReply: Encodable {
    let count: Int
    let text: String?

    static func show(_ request: Frame, _ options: QueueOptions, _ result: String) async throws {
        let reply = try await QueueControl.with(options) { try await $0.ask(request) }
        let answer = QueueReply(count: reply.integer("count") ?? 0, text: reply["text"])
        if options.json {
            try JSONOutput.print(answer)
        } else {
            print("\(answer.count) \(result)\(answer.text.map { " (\($0))" } ?? "").")
        }
    }
}

/// `martlet queue flush`
struct QueueFlushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flush",
        abstract: "Tries now: everything, some messages, or all that goes to one domain."
    )

    @OptionGroup var options: QueueOptions
    @Option(help: "Only what goes to this domain; \"local\" for mailboxes here.") var domain: String?
    @Argument(help: "IDs of messages; none for all.") var ids: [String] = []

    func run() async throws {
        var request = Frame("FLUSH", ids.map { Frame.Field("id", $0) })
        request["destination"] = domain
        try await QueueReply.show(request, options, ids.isEmpty ? "deliveries due now" : "due now")
    }
}

/// `martlet queue hold`
struct QueueHoldCommand: QueueChange {
    static let configuration = CommandConfiguration(commandName: "hold", abstract: "Keeps messages, but tries no more.")
    static let verb = "HOLD"
    static let result = "held"

    @OptionGroup var options: QueueOptions
    @Argument(help: "IDs of messages.") var ids: [String]
}

/// `martlet queue release`
struct QueueReleaseCommand: QueueChange {
    static let configuration = CommandConfiguration(
        commandName: "release",
        abstract: "Tries messages again that were held."
    )
    static let verb = "RELEASE"
    static let result = "released"

    @OptionGroup var options: QueueOptions
    @Argument(help: "IDs of messages.") var ids: [String]
}

/// `martlet queue requeue`
struct QueueRequeueCommand: QueueChange {
    static let configuration = CommandConfiguration(
        commandName: "requeue",
        abstract: "Works out anew where messages go, and tries them as if they had just come.",
        discussion: "Recipients that have the message already don't get it again."
    )
    static let verb = "REQUEUE"
    static let result = "requeued"

    @OptionGroup var options: QueueOptions
    @Argument(help: "IDs of messages.") var ids: [String]
}

/// `martlet queue remove`
struct QueueRemoveCommand: QueueChange {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Throws messages away without telling anybody."
    )
    static let verb = "REMOVE"
    static let result = "removed"

    @OptionGroup var options: QueueOptions
    @Argument(help: "IDs of messages.") var ids: [String]
}

/// `martlet queue bounce`
struct QueueBounceCommand: QueueChange {
    static let configuration = CommandConfiguration(
        commandName: "bounce",
        abstract: "Returns messages to their senders now."
    )
    static let verb = "BOUNCE"
    static let result = "returned"

    @OptionGroup var options: QueueOptions
    @Option(help: "The reason that the sender is told.") var text: String?
    @Argument(help: "IDs of messages.") var ids: [String]
}
