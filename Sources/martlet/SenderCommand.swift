import ArgumentParser
import Authority
import Bus
import SMTP

/// `martlet user sender`: which addresses a user may send from beside the own ones.
struct SenderCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sender",
        abstract:
            "Adds, lists and removes addresses that a user may send from, beside the user's own and aliases of it.",
        subcommands: [Add.self, List.self, Remove.self]
    )

    struct Right: ParsableArguments {
        @Argument(help: "An address, @domain for all of a domain, or * for any.") var sender: String

        func parsed() throws -> SenderTable.Right {
            guard let right = SenderTable.Right(sender) else {
                throw ValidationError("\"\(sender)\" is neither an address, nor @domain, nor *")
            }
            return right
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lets a user send from an address.")

        @OptionGroup var target: UserCommand.Target
        @OptionGroup var right: Right

        func run() throws {
            let right = try right.parsed()
            let (tables, address) = try target.open()
            let account = try tables.users.account(address)
            try tables.senders.add(right, for: account.address)
            if target.json { try SenderCommand.report(tables, address) }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists what a user may send from.")

        @OptionGroup var target: UserCommand.Target

        func run() throws {
            let (tables, address) = try target.open()
            _ = try tables.users.account(address)
            if target.json { return try SenderCommand.report(tables, address) }
            for right in try tables.senders.rights(of: address) { print(right.text) }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lets a user send from an address no more.")

        @OptionGroup var target: UserCommand.Target
        @OptionGroup var right: Right

        func run() throws {
            let right = try right.parsed()
            let (tables, address) = try target.open()
            try tables.senders.remove(right, of: address)
            if target.json { try SenderCommand.report(tables, address) }
        }
    }

    private static func report(_ tables: AccountTables, _ address: MailAddress) throws {
        try JSONOutput.print(try tables.senders.rights(of: address).map(\.text))
    }
}

/// `martlet user sending`: what a user has sent, and what the limits are.
struct SendingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sending",
        abstract: "Shows what a user has sent within an hour and a day, and lifts a limit that was reached.",
        discussion: "Asks the authd that runs. Limits stand in [authd.sending] of etc/martlet.toml."
    )

    @OptionGroup var target: UserCommand.Target
    @Flag(help: "Begin to count anew: the user may send at once.") var lift = false

    func run() async throws {
        let (tables, address) = try target.open()
        let account = try tables.users.account(address)
        let reply = try await BusClient.ask(
            "run/auth.sock",
            SendingUsage.question(account.address, lifting: lift)
        )
        guard let usage = SendingUsage(reply) else {
            throw ValidationError("authd says: \(reply["text"] ?? reply.verb)")
        }
        let periods = [
            SendingDocument(period: "hour", usage.hour, usage.limits.hour),
            SendingDocument(period: "day", usage.day, usage.limits.day),
        ]
        if target.json { return try JSONOutput.print(periods) }
        for period in periods { print(period.line) }
    }
}

/// What was sent within a period.
private struct SendingDocument: Encodable {
    let period: String
    let messages: Int
    /// 0 for none.
    let messageLimit: Int
    let recipients: Int
    let recipientLimit: Int

    init(period: String, _ amount: SendingAmount, _ limit: SendingAmount) {
        self.period = period
        messages = amount.messages
        messageLimit = limit.messages
        recipients = amount.recipients
        recipientLimit = limit.recipients
    }

    /// For people.
    var line: String {
        func of(_ limit: Int) -> String { limit == 0 ? "" : " of \(limit)" }
        return "within the last \(period): \(messages)\(of(messageLimit)) messages, "
            + "\(recipients)\(of(recipientLimit)) recipients"
    }

    enum CodingKeys: String, CodingKey {
        case period, messages, recipients
        case messageLimit = "message-limit"
        case recipientLimit = "recipient-limit"
    }
}
