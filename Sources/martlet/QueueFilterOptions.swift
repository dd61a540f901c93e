import ArgumentParser
import Bus
import Daemon
import NIOCore

/// Which messages a command is about: all that meet every condition (docs/protocols.md, "control.sock").
struct QueueFilterOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Only messages from this reverse-path or user.", valueName: "address or @domain"),
        completion: QueueCompletion.senders
    ) var sender: String?
    @Option(
        help: ArgumentHelp("Only messages that this user has handed in.", valueName: "user"),
        completion: QueueCompletion.accounts
    ) var account: String?
    @Option(help: ArgumentHelp("Only messages for this recipient.", valueName: "address or @domain"))
    var recipient: String?
    @Option(
        help: "Only messages for this domain; \"local\" for mailboxes here.",
        completion: QueueCompletion.destinations
    ) var domain: String?
    @Option(
        help: "Only messages that wait for this destination; \"local\" for mailboxes here.",
        completion: QueueCompletion.destinations
    ) var destination: String?
    @Option(
        help: "Only messages in this state: queued, active, deferred, held, paused.",
        completion: .list(["queued", "active", "deferred", "held", "paused"])
    ) var state: String?
    @Option(help: ArgumentHelp("Only messages that came at least so long ago.", valueName: "5m, 4h, 2d"))
    var older: String?
    @Option(help: ArgumentHelp("Only messages that came less long ago.", valueName: "5m, 4h, 2d")) var newer: String?
    @Option(help: ArgumentHelp("Only messages of at least this size.", valueName: "octets, 10MiB")) var larger: String?
    @Option(help: ArgumentHelp("Only smaller messages.", valueName: "octets, 10MiB")) var smaller: String?
    @Option(help: ArgumentHelp("Only messages whose last answer holds this.", valueName: "text or status"))
    var reason: String?

    func validate() throws { _ = try fields }

    /// The fields of a request.
    var fields: [Frame.Field] {
        get throws {
            var fields: [Frame.Field] = []
            func add(_ name: String, _ value: String?) { if let value { fields.append(.init(name, value)) } }
            add("sender", sender)
            add("account", account)
            add("recipient", recipient)
            add(domain == "local" ? "destination" : "domain", domain)
            add("destination", destination)
            add("state", state)
            add("older", try older.map { try Self.seconds($0, "--older") })
            add("newer", try newer.map { try Self.seconds($0, "--newer") })
            add("larger", try larger.map { try Self.octets($0, "--larger") })
            add("smaller", try smaller.map { try Self.octets($0, "--smaller") })
            add("reason", reason)
            return fields
        }
    }

    private static func seconds(_ text: String, _ option: String) throws -> String {
        guard let time = Quantity.duration(text) else {
            throw ValidationError("\(option) is a time such as 30s, 5m, 4h or 2d")
        }
        // Up: parts of a second are not "everything".
        return String((time.nanoseconds + 999_999_999) / 1_000_000_000)
    }

    private static func octets(_ text: String, _ option: String) throws -> String {
        guard let octets = Quantity.octets(text) else {
            throw ValidationError("\(option) is a number of octets such as 1048576 or 10MiB")
        }
        return String(octets)
    }
}

/// Likewise, where messages may be named as well.
struct QueueSelectionOptions: ParsableArguments {
    @OptionGroup var filter: QueueFilterOptions
    @Argument(help: "IDs of messages.", completion: QueueCompletion.ids) var ids: [String] = []

    /// The fields of a request.
    var fields: [Frame.Field] { get throws { ids.map { .init("id", $0) } + (try filter.fields) } }
}
