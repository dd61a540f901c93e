import ArgumentParser
import Authority
import Daemon
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// `martlet user`: edits the table of users; authd notices by itself.
struct UserCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user",
        abstract: "Adds, changes, removes and lists users.",
        subcommands: [Add.self, Password.self, Remove.self, List.self]
    )

    /// Where a password comes from.
    struct PasswordSource: ParsableArguments {
        @Flag(help: "Make a password and print it.") var generate = false
        @Flag(help: "Read the password from the first line of standard input.") var passwordStdin = false

        func password() throws -> String {
            if generate { return Self.generated() }
            let isTerminal = isatty(STDIN_FILENO) == 1 && !passwordStdin
            let password = isTerminal ? getpass("Password: ").map { String(cString: $0) } : readLine()
            guard let password, !password.isEmpty else { throw ValidationError("no password was given") }
            if isTerminal, getpass("Again: ").map({ String(cString: $0) }) != password {
                throw ValidationError("the passwords differ")
            }
            return password
        }

        /// 20 characters that can't be taken for each other: about 100 bits.
        private static func generated() -> String {
            let alphabet = Array("abcdefghjkmnpqrstuvwxyz23456789")
            var generator = SystemRandomNumberGenerator()
            return String((0..<20).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &generator)] })
        }

        func hash(printing address: MailAddress) throws -> String {
            let password = try password()
            guard let hash = PasswordHash.make(password) else {
                throw ValidationError("a password has at most \(PasswordHash.maximumPassword) octets")
            }
            if generate { print("\(address) \(password)") }
            return hash
        }
    }

    static func editor(_ instance: InstanceOptions) throws -> AccountFileEditor {
        try instance.enter()
        return AccountFileEditor(file: try Configuration.load("etc/martlet.toml").authd.users)
    }

    static func address(_ text: String) throws -> MailAddress {
        guard let address = try? MailAddress(parsing: text.utf8, options: .utf8) else {
            throw ValidationError("\"\(text)\" is not an address such as alice@example.com")
        }
        return address
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Adds a user.")

        @OptionGroup var instance: InstanceOptions
        @OptionGroup var source: PasswordSource
        @Argument(help: "The user's address.") var address: String
        @Option(help: "Where the mailbox is, below the mail directory.") var mailbox: String?
        @Option(help: "maildir, maildir-fs or mbox.") var format: MailboxFormat = .maildir
        @Option(help: "How much the mailbox may hold: octets, or a number with KiB, MiB or GiB.") var quota = "0"

        func run() throws {
            let address = try UserCommand.address(address)
            let mailbox = mailbox ?? Account.standardMailbox(of: address)
            guard Account.isMailbox(mailbox) else {
                throw ValidationError("\"\(mailbox)\" is not a path below the mail directory")
            }
            guard let octets = Quantity.octets(quota) else {
                throw ValidationError("\"\(quota)\" is not a number of octets such as 1GiB")
            }
            let editor = try UserCommand.editor(instance)
            let hash = try source.hash(printing: address)
            try editor.add(Account(address: address, hash: hash, mailbox: mailbox, format: format, quota: octets))
        }
    }

    struct Password: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Changes a user's password.")

        @OptionGroup var instance: InstanceOptions
        @OptionGroup var source: PasswordSource
        @Argument(help: "The user's address.") var address: String

        func run() throws {
            let address = try UserCommand.address(address)
            let editor = try UserCommand.editor(instance)
            let hash = try source.hash(printing: address)
            try editor.change(address) { $0.hash = hash }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Removes a user. The mailbox stays on disk.")

        @OptionGroup var instance: InstanceOptions
        @Argument(help: "The user's address.") var address: String

        func run() throws {
            try UserCommand.editor(instance).remove(try UserCommand.address(address))
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the users.")

        private struct Entry: Encodable {
            let address: String
            let mailbox: String
            let format: String
            let quota: Int
        }

        @OptionGroup var instance: InstanceOptions
        @Flag(help: "For programs: one JSON document.") var json = false

        func run() throws {
            let accounts = try UserCommand.editor(instance).accounts()
            if json {
                try JSONOutput.print(
                    accounts.map {
                        Entry(
                            address: $0.address.description,
                            mailbox: $0.mailbox,
                            format: $0.format.rawValue,
                            quota: $0.quota
                        )
                    }
                )
                return
            }
            for account in accounts {
                let quota = account.quota == 0 ? "no quota" : "quota \(account.quota)"
                print("\(account.address)  \(account.format.rawValue) \(account.mailbox), \(quota)")
            }
        }
    }
}

extension MailboxFormat: ExpressibleByArgument {}
