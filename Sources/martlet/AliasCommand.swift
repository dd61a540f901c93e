import ArgumentParser
import Authority
import Daemon

/// `martlet alias`: edits the table of aliases; authd notices by itself.
struct AliasCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alias",
        abstract: "Adds, removes and lists aliases.",
        discussion:
            "A name is a local part (in every domain), an address, or @domain for all that has neither user nor alias.",
        subcommands: [Add.self, Remove.self, List.self, Show.self]
    )

    /// An alias as commands show it.
    private struct Entry: Encodable {
        let name: String
        let targets: [String]
        let line: Int

        init(_ entry: AliasTable.Entry) {
            name = entry.name
            targets = entry.targets
            line = entry.line
        }

        var text: String { "\(name): \(targets.joined(separator: ", "))" }
    }

    struct Target: ParsableArguments {
        @OptionGroup var instance: InstanceOptions
        @Argument(help: "The alias.") var name: String
        @Flag(help: "For programs: one JSON document.") var json = false
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Has an alias lead to addresses, beside those that it leads to already."
        )

        @OptionGroup var target: Target
        @Argument(help: "Where it leads; a local part is in the domain that was asked for.") var addresses: [String]

        func run() throws {
            let entry = try AccountTables(target.instance).aliases.add(addresses, to: target.name)
            if target.json { try JSONOutput.print(Entry(entry)) }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes an alias, or some of the addresses that it leads to."
        )

        @OptionGroup var target: Target
        @Argument(help: "What it leads to no more; everything without this.") var addresses: [String] = []

        func run() throws {
            let entry = try AccountTables(target.instance).aliases.remove(addresses, from: target.name)
            if target.json { try JSONOutput.print(entry.map(Entry.init)) }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the aliases.")

        @OptionGroup var instance: InstanceOptions
        @Flag(help: "For programs: one JSON document.") var json = false

        func run() throws {
            let entries = try AccountTables(instance).aliases.aliases().map(Entry.init)
            if json { return try JSONOutput.print(entries) }
            for entry in entries { print(entry.text) }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows an alias.")

        @OptionGroup var target: Target

        func run() throws {
            let entry = Entry(try AccountTables(target.instance).aliases.alias(target.name))
            if target.json { return try JSONOutput.print(entry) }
            print(entry.text)
        }
    }
}
