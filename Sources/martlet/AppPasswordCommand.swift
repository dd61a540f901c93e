import ArgumentParser
import Authority

/// `martlet user app-password`: passwords of single programs and devices.
struct AppPasswordCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "app-password",
        abstract: "Makes, lists and withdraws passwords of single programs and devices.",
        subcommands: [Add.self, List.self, Remove.self]
    )

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes an app password and prints it. It can't be shown again."
        )

        @OptionGroup var target: UserCommand.Target
        @Argument(help: "What to call it, such as \"telephone\".") var name: String
        @Option(help: "What it's good for: smtp, imap, pop3, with commas between them; all of them without this.")
        var services: String?

        func run() throws {
            let (tables, address) = try target.open()
            guard AppPassword.isName(name) else {
                throw ValidationError("a name has 1 to 64 octets, no colon, and no blank at either end")
            }
            if self.services?.allSatisfy({ $0 == "," || $0 == " " }) == true {
                throw ValidationError("no service is named; leave --services out for all of them")
            }
            let services = services?.split(separator: ",").map { String($0) } ?? []
            if let other = services.first(where: { !AppPassword.knownServices.contains($0) }) {
                throw ValidationError("\"\(other)\" is none of \(AppPassword.knownServices.joined(separator: ", "))")
            }
            try tables.readAll()
            let account = try tables.users.account(address)
            let secret = AppPassword.generate()
            let verifier = try tables.verifier(ofAppPassword: secret, of: account)
            let password = AppPassword(
                address: account.address,
                name: name,
                services: services,
                hash: AppPassword.hash(of: secret),
                verifier: verifier
            )
            try tables.appPasswords.add(password)
            guard target.json else { return print(secret) }
            var entry = AppPasswordEntry(password, lastUse: nil)
            entry.password = secret
            try JSONOutput.print(entry)
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists a user's app passwords and their last use.")

        @OptionGroup var target: UserCommand.Target

        func run() throws {
            let (tables, address) = try target.open()
            _ = try tables.users.account(address)
            let entries = try tables.appPasswordEntries(of: address)
            if target.json { return try JSONOutput.print(entries) }
            for entry in entries { print(entry.line) }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Withdraws an app password.")

        @OptionGroup var target: UserCommand.Target
        @Argument(help: "Its name.") var name: String

        func run() throws {
            let (tables, address) = try target.open()
            try tables.appPasswords.remove(name, of: address)
            if target.json { try JSONOutput.print(try tables.appPasswordEntries(of: address)) }
        }
    }
}
