import ArgumentParser
import Bus

#if canImport(Glibc)
import Glibc
#endif

/// A command that does one thing to some messages.
protocol QueueChange: AsyncParsableCommand {
    static var verb: String { get }
    /// What has become of them, for people.
    static var result: String { get }
    var options: QueueOptions { get }
    var change: QueueChangeOptions { get }
    var text: String? { get }
}

/// Which messages are changed.
struct QueueChangeOptions: ParsableArguments {
    @OptionGroup var selection: QueueSelectionOptions
    @Flag(help: "Every message in the queue, where nothing else says which.") var all = false

    func validate() throws {
        guard try all != selection.fields.isEmpty else { return }
        throw ValidationError(all ? "--all stands alone" : "Which messages? --all for every one.")
    }
}

extension QueueChange {
    var text: String? { nil }

    func run() async throws {
        var request = Frame(Self.verb, try change.selection.fields)
        request["text"] = text
        request["all"] = change.all ? "yes" : nil
        try await QueueReply.show(request, options, Self.result)
    }
}

/// The answer to a command that changes something.
struct QueueReply: Encodable {
    /// How many have been changed, also where something went wrong with others.
    let count: Int
    /// How many were so before.
    let unchanged: Int
    let text: String?

    private init(_ reply: Frame) {
        count = reply.integer("count") ?? 0
        unchanged = reply.integer("unchanged") ?? 0
        text = reply["text"]
    }

    static func show(_ request: Frame, _ options: QueueOptions, _ result: String) async throws {
        do {
            let reply = try await QueueControl.with(options) { try await $0.ask(request) }
            try QueueReply(reply).show(options, result, isDone: true)
        } catch let failure as DaemonControl.Failure {
            // What was changed before is changed.
            if let reply = failure.answer, reply["count"] != nil {
                try QueueReply(reply).show(options, result, isDone: false)
            }
            throw failure
        }
    }

    /// - Parameter isDone: whether the answer's text belongs to what was done; else it stands on standard error.
    private func show(_ options: QueueOptions, _ result: String, isDone: Bool) throws {
        if options.json { return try JSONOutput.print(self) }
        let others = unchanged > 0 ? ", \(unchanged) had it so before" : ""
        let note = isDone ? text.map { " (\($0))" } ?? "" : ""
        print("\(count) \(result)\(others)\(note).")
        fflush(nil)
    }
}

/// `martlet queue flush`
struct QueueFlushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flush",
        abstract: "Tries now: everything, or some messages."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var selection: QueueSelectionOptions

    func run() async throws {
        let fields = try selection.fields
        let isByDestination = fields.allSatisfy { $0.name == "domain" || $0.name == "destination" }
        try await QueueReply.show(Frame("FLUSH", fields), options, isByDestination ? "deliveries due now" : "due now")
    }
}

/// `martlet queue hold`
struct QueueHoldCommand: QueueChange {
    static let configuration = CommandConfiguration(commandName: "hold", abstract: "Keeps messages, but tries no more.")
    static let verb = "HOLD"
    static let result = "held"

    @OptionGroup var options: QueueOptions
    @OptionGroup var change: QueueChangeOptions
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
    @OptionGroup var change: QueueChangeOptions
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
    @OptionGroup var change: QueueChangeOptions
}

/// `martlet queue reroute`
struct QueueRerouteCommand: QueueChange {
    static let configuration = CommandConfiguration(
        commandName: "reroute",
        abstract: "Works out anew where messages go, and tries that now; earlier attempts count on.",
        discussion: "For mail that waits because of a wrong route, once that is mended."
    )
    static let verb = "REROUTE"
    static let result = "rerouted"

    @OptionGroup var options: QueueOptions
    @OptionGroup var change: QueueChangeOptions
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
    @OptionGroup var change: QueueChangeOptions
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
    @OptionGroup var change: QueueChangeOptions
    @Option(help: "The reason that the sender is told.") var text: String?
}

/// `martlet queue expire`
struct QueueExpireCommand: QueueChange {
    static let configuration = CommandConfiguration(
        commandName: "expire",
        abstract: "Treats messages as if their time were over: returns them with the last answers about them."
    )
    static let verb = "EXPIRE"
    static let result = "expired"

    @OptionGroup var options: QueueOptions
    @OptionGroup var change: QueueChangeOptions
}
