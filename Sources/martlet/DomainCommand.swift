import ArgumentParser
import Authority
import Daemon
import SMTP

/// `martlet domain`: edits the list of local domains; authd notices by itself and tells the others.
struct DomainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "domain",
        abstract: "Adds, removes and lists the domains whose mailboxes are here.",
        subcommands: [Add.self, Remove.self, List.self, Show.self]
    )

    /// A domain as commands show it.
    private struct Entry: Encodable {
        let domain: String
        /// Names without a domain are in the first one.
        let isFirst: Bool
        let users: [String]
        /// Of this domain alone; those of all domains are in `martlet alias list`.
        let aliases: [String]

        init(_ domain: String, _ domains: [String], _ tables: AccountTables) throws {
            self.domain = domain
            isFirst = domain == domains.first
            users = try tables.users.accounts().filter { $0.address.lowercasedDomain == domain }
                .map(\.address.description)
            aliases = try tables.aliases.aliases().map(\.name).filter { $0.hasSuffix("@\(domain)") }
        }

        var line: String {
            "\(domain)  \(users.count) user\(users.count == 1 ? "" : "s"), "
                + "\(aliases.count) alias\(aliases.count == 1 ? "" : "es")"
        }
    }

    struct Target: ParsableArguments {
        @OptionGroup var instance: InstanceOptions
        @Argument(help: "The domain.") var domain: String
        @Flag(help: "For programs: one JSON document.") var json = false

        var name: String { domain.lowercased() }
    }

    /// The domains as they are in the file now.
    private static func entries(_ instance: InstanceOptions) throws -> [Entry] {
        let tables = try AccountTables(instance)
        let domains = tables.configuration.domains
        return try domains.map { try Entry($0, domains, tables) }
    }

    private static func entry(_ target: Target) throws -> Entry {
        guard let entry = try entries(target.instance).first(where: { $0.domain == target.name }) else {
            throw DomainListEditor.Fault.missing(target.name)
        }
        return entry
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Takes mail for a domain from now on.")

        @OptionGroup var target: Target

        func run() throws {
            try AccountTables(target.instance).domains.add(target.name)
            if target.json { try JSONOutput.print(try DomainCommand.entry(target)) }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes no more mail for a domain.",
            discussion:
                "Refused while the domain has users or aliases, unless --force is given. They stay in their tables."
        )

        @OptionGroup var target: Target
        @Flag(help: "Also where the domain has users or aliases.") var force = false

        func run() throws {
            let entry = try DomainCommand.entry(target)
            guard force || entry.users.isEmpty && entry.aliases.isEmpty else {
                throw ValidationError("\(entry.line): remove those first, or use --force")
            }
            try AccountTables(target.instance).domains.remove(target.name)
            if target.json { try JSONOutput.print(entry) }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the domains, in the order of the configuration."
        )

        @OptionGroup var instance: InstanceOptions
        @Flag(help: "For programs: one JSON document.") var json = false

        func run() throws {
            let entries = try DomainCommand.entries(instance)
            if json { return try JSONOutput.print(entries) }
            for entry in entries { print(entry.line) }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a domain, with its users and aliases.")

        @OptionGroup var target: Target

        func run() throws {
            let entry = try DomainCommand.entry(target)
            if target.json { return try JSONOutput.print(entry) }
            print(entry.line)
            for user in entry.users { print("  user \(user)") }
            for alias in entry.aliases { print("  alias \(alias)") }
        }
    }
}
