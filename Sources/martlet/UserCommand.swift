import ArgumentParser
import Authority
import Daemon
import SMTP

/// `martlet user`: edits the table of users; authd notices by itself.
struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user",
        abstract: "Adds, changes, removes and lists users.",
        subcommands: [
            Add.self, Password.self, Quota.self, Disable.self, Enable.self, Remove.self, List.self, Show.self,
            AppPasswordCommand.self, SenderCommand.self, SendingCommand.self,
        ]
    )

    static func address(_ text: String) throws -> MailAddress {
        guard let address = try? MailAddress(parsing: text.utf8, options: .utf8) else {
            throw ValidationError("\"\(text)\" is not an address such as alice@example.com")
        }
        return address
    }

    static func octets(_ text: String) throws -> Int {
        guard let octets = Quantity.octets(text) else {
            throw ValidationError("\"\(text)\" is not a number of octets such as 1GiB")
        }
        return octets
    }

    /// What every subcommand that names a user has.
    struct Target: ParsableArguments {
        @OptionGroup var instance: InstanceOptions
        @Argument(help: "The user's address.") var address: String
        @Flag(help: "For programs: one JSON document.") var json = false

        /// The tables, and the user's address.
        func open() throws -> (AccountTables, MailAddress) {
            let address = try UserCommand.address(address)
            return (try AccountTables(instance), address)
        }

        /// Says how the user is now: in JSON, or not at all.
        func report(_ tables: AccountTables, _ address: MailAddress, password: String? = nil) throws {
            if json {
                var entry = try tables.entry(try tables.users.account(address))
                entry.password = password
                try JSONOutput.print(entry)
            } else if let password {
                print("\(address) \(password)")
            }
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Adds a user.")

        @OptionGroup var target: Target
        @OptionGroup var source: PasswordSource
        @Option(help: "Where the mailbox is, below the mail directory.") var mailbox: String?
        @Option(help: "maildir, maildir-fs or mbox.") var format: MailboxFormat = .maildir
        @Option(help: "How much the mailbox may hold: octets, or a number with KiB, MiB or GiB.") var quota = "0"

        func run() throws {
            let address = try UserCommand.address(target.address)
            let mailbox = mailbox ?? Account.standardMailbox(of: address)
            guard Account.isMailbox(mailbox) else {
                throw ValidationError("\"\(mailbox)\" is not a path below the mail directory")
            }
            let octets = try UserCommand.octets(quota)
            let (tables, _) = try target.open()
            try tables.readAll()
            // They would be another's, who had the address before.
            let settings = tables.configuration.authd
            guard try tables.appPasswords.passwords(of: address).isEmpty else {
                throw ValidationError("\(settings.appPasswords) has lines of \(address): take them out first")
            }
            guard try !tables.certificates.hasLines(of: address) else {
                throw ValidationError("\(settings.certificates) has lines of \(address): take them out first")
            }
            guard try tables.senders.rights(of: address).isEmpty else {
                throw ValidationError("\(settings.senders) has lines of \(address): take them out first")
            }
            let password = try source.password()
            var account = Account(address: address, hash: "", mailbox: mailbox, format: format, quota: octets)
            try tables.give(password, to: &account)
            try tables.users.add(account)
            try target.report(tables, address, password: source.generate ? password : nil)
        }
    }

    struct Password: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Changes a user's password. App passwords stay what they are."
        )

        @OptionGroup var target: Target
        @OptionGroup var source: PasswordSource

        func run() throws {
            let (tables, address) = try target.open()
            try tables.readAll()
            var account = try tables.users.account(address)
            let password = try source.password()
            try tables.give(password, to: &account)
            try tables.users.change(address) { current in
                // Who was disabled stays so, whatever stands behind the mark; a user without any password was only
                // waiting for one.
                let isDisabled = current.isLocked && !current.hash.allSatisfy { $0 == "!" }
                current.hash = account.hash
                current.verifier = account.verifier
                if isDisabled { current.lock(true) }
            }
            try target.report(tables, address, password: source.generate ? password : nil)
        }
    }

    struct Quota: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Changes how much a user's mailbox may hold.")

        @OptionGroup var target: Target
        @Argument(help: "Octets, or a number with KiB, MiB or GiB; 0 for no limit.") var quota: String

        func run() throws {
            let octets = try UserCommand.octets(quota)
            let (tables, address) = try target.open()
            try tables.readAll()
            try tables.users.change(address) { $0.quota = octets }
            try target.report(tables, address)
        }
    }

    struct Disable: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets a user log in no more, by whatever means. Mail still comes in."
        )

        @OptionGroup var target: Target

        func run() throws {
            let (tables, address) = try target.open()
            try tables.users.change(address) { $0.lock(true) }
            try target.report(tables, address)
        }
    }

    struct Enable: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lets a user log in again who was disabled.")

        @OptionGroup var target: Target

        func run() throws {
            let (tables, address) = try target.open()
            var account = try tables.users.account(address)
            account.lock(false)
            guard PasswordHash.isKnown(account.hash) else {
                throw ValidationError("\(address) has no password: martlet user password \(address)")
            }
            try tables.users.change(address) { $0.lock(false) }
            try target.report(tables, address)
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Removes a user, its app passwords and its lines in the tables of certificates and senders. The mailbox stays on disk."
        )

        @OptionGroup var target: Target

        func run() throws {
            let (tables, address) = try target.open()
            try tables.readAll()
            let entry = try tables.entry(try tables.users.account(address))
            // The user last: whoever gets the address next must not find anything of this one.
            try tables.appPasswords.removeAll(of: address)
            try tables.certificates.removeAll(of: address)
            try tables.senders.removeAll(of: address)
            try tables.users.remove(address)
            if target.json { try JSONOutput.print(entry) }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the users.")

        @OptionGroup var instance: InstanceOptions
        @Option(help: "Those of one domain.") var domain: String?
        @Flag(help: "For programs: one JSON document.") var json = false

        func run() throws {
            let tables = try AccountTables(instance)
            let accounts = try tables.users.accounts().filter {
                domain == nil || $0.address.lowercasedDomain == domain?.lowercased()
            }
            let entries = try tables.entries(accounts)
            if json { return try JSONOutput.print(entries) }
            for entry in entries { print(entry.line) }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a user, with aliases and app passwords.")

        @OptionGroup var target: Target

        func run() throws {
            let (tables, address) = try target.open()
            let account = try tables.users.account(address)
            let entry = try UserDetails(account, tables)
            if target.json { return try JSONOutput.print(entry) }
            print(entry.user.line)
            for alias in entry.aliases { print("  alias \(alias)") }
            for password in entry.appPasswords { print("  app password \(password.line)") }
            for sender in entry.senders { print("  may send from \(sender)") }
        }
    }
}

/// What `martlet user show` says.
private struct UserDetails: Encodable {
    let user: UserEntry
    let aliases: [String]
    let appPasswords: [AppPasswordEntry]
    /// What the user may send from beside own addresses and aliases.
    let senders: [String]

    init(_ account: Account, _ tables: AccountTables) throws {
        user = try tables.entry(account)
        let aliases = try tables.aliases.aliases()
        self.aliases = aliases.filter { entry in
            entry.targets.contains { target in
                let isFull = target.contains("@")
                let text = isFull ? target : "\(target)@\(account.address.domain)"
                guard let address = try? MailAddress(parsing: text.utf8, options: .utf8) else { return false }
                let domain = entry.name.split(separator: "@").last.map(String.init)
                let isHere = isFull || !entry.name.contains("@") || domain == account.address.lowercasedDomain
                return isHere && address.isSame(as: account.address)
            }
        }.map(\.name)
        appPasswords = try tables.appPasswordEntries(of: account.address)
        senders = try tables.senders.rights(of: account.address).map(\.text)
    }
}

extension MailAddress {
    /// Whether it's looked up as the other one is.
    func isSame(as other: MailAddress) -> Bool { description.lowercased() == other.description.lowercased() }
}

extension MailboxFormat: ExpressibleByArgument {}
