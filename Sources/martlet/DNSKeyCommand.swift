import ArgumentParser
import Cryptography
import DNS
import DNSSEC
import Daemon
import ZoneKeys

#if canImport(Glibc)
import Glibc
#endif

/// `martlet dns key`: the keys of signed zones.
struct DNSKeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Makes and looks after the keys that local zones are signed with.",
        discussion: "resolverd notices changes within two seconds.",
        subcommands: [Generate.self, List.self, DelegationSigners.self, Activate.self, Retire.self, Remove.self]
    )

    /// What each of these commands takes.
    struct Options: ParsableArguments {
        @OptionGroup var instance: InstanceOptions
        @Flag(help: "For programs: one JSON document.") var json = false
        @Argument(help: "The zone.") var zone: String

        func open() throws -> ZoneKeyring { try ZoneKeyring(instance, zone: zone) }

        func show(_ keys: [StoredKey]) throws {
            if json { return try JSONOutput.print(keys.map(DNSKeyDocument.init)) }
            for key in keys { print(DNSKeyDocument(key).line) }
        }
    }

    enum Algorithm: String, ExpressibleByArgument, CaseIterable { case ecdsap256sha256, ed25519 }

    /// `martlet dns key generate ZONE`
    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "generate",
            abstract: "Makes a key, and prints the DS record for the parent zone.",
            discussion: """
                A csk signs everything; with a ksk, which signs the keys only, a zsk is needed for all else. A key is \
                active at once unless --published says that resolvers are to know it first.
                """
        )
        @OptionGroup var options: Options
        @Option(help: "ecdsap256sha256 or ed25519; by default what the configuration says.") var algorithm: Algorithm?
        @Option(help: "csk, ksk or zsk.") var role: KeyRole = .csk
        @Option(help: ArgumentHelp("How long its DNSKEY record may be kept.", valueName: "SECONDS")) var ttl: UInt32 =
            3600
        @Flag(help: "Publish it, but sign nothing with it yet.") var published = false

        func validate() throws {
            if !(1...604_800).contains(ttl) { throw ValidationError("--ttl is 1 to 604800") }
        }

        func run() throws {
            let keyring = try options.open()
            let kind: KeyKind = (algorithm ?? keyring.algorithm) == .ed25519 ? .ed25519 : .ecdsaP256
            let key = try keyring.generate(kind, role: role, state: published ? .published : .active, timeToLive: ttl)
            if options.json { return try JSONOutput.print(DNSKeyDocument(key)) }
            try options.show([key])
            if role.isSecureEntryPoint, let signer = key.key.key.delegationSigner() { print(signer) }
        }
    }

    /// `martlet dns key list ZONE`
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "Lists a zone's keys, a line each: name, role, state, and since when."
        )
        @OptionGroup var options: Options

        func run() throws { try options.show(try options.open().keys()) }
    }

    /// `martlet dns key ds ZONE`
    struct DelegationSigners: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ds",
            abstract: "Prints the DS records for the parent zone."
        )
        @OptionGroup var options: Options
        @Flag(help: "With SHA-384 in the place of SHA-256.") var sha384 = false
        @Flag(help: "The DNSKEY records of all keys as well.") var dnskey = false

        func run() throws {
            let keys = try options.open().keys()
            let entries = keys.filter { $0.key.role.isSecureEntryPoint && $0.key.state != .retired }
            let signers = entries.compactMap { $0.key.key.delegationSigner(sha384 ? .sha384 : .sha256) }
            let lines = (signers + (dnskey ? keys.map(\.key.key.record) : [])).map(\.description)
            if options.json {
                try JSONOutput.print(lines)
            } else {
                for line in lines { print(line) }
            }
            if signers.isEmpty { throw ExitCode(1) }
        }
    }

    /// `martlet dns key activate ZONE KEY`
    struct Activate: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "activate",
            abstract: "Lets a key sign."
        )
        @OptionGroup var options: Options
        @Argument(help: "The key's tag, or its name as list shows it.") var key: String

        func run() throws { try options.show([try options.open().set(.active, of: key, force: false)]) }
    }

    /// `martlet dns key retire ZONE KEY`
    struct Retire: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "retire",
            abstract: "Lets a key sign no more. It's still published, for what it signed before."
        )
        @OptionGroup var options: Options
        @Argument(help: "The key's tag, or its name as list shows it.") var key: String
        @Flag(help: "Even where it's the zone's last active key.") var force = false

        func run() throws { try options.show([try options.open().set(.retired, of: key, force: force)]) }
    }

    /// `martlet dns key remove ZONE KEY`
    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove",
            abstract: "Takes a key away for good."
        )
        @OptionGroup var options: Options
        @Argument(help: "The key's tag, or its name as list shows it.") var key: String
        @Flag(help: "Even where it still signs.") var force = false

        func run() throws { try options.open().remove(key, force: force) }
    }
}

extension KeyRole: ExpressibleByArgument {}

/// A key as commands show it.
struct DNSKeyDocument: Encodable {
    var name: String
    var zone: String
    var keyTag: Int
    var algorithm: String
    var role: String
    var state: String
    /// YYYYMMDDHHmmSS in UTC.
    var since: String
    var dnskey: String
    /// For the parent zone; not of a zsk.
    var ds: [String]

    init(_ stored: StoredKey) {
        let key = stored.key.key
        name = stored.name
        zone = key.zone.description
        keyTag = Int(key.publicKey.keyTag)
        algorithm = (key.publicKey.algorithm == 15 ? DNSKeyCommand.Algorithm.ed25519 : .ecdsap256sha256).rawValue
        role = stored.key.role.rawValue
        state = stored.key.state.rawValue
        since = Moment.print(stored.since)
        dnskey = key.record.description
        let functions: [HashFunction] = stored.key.role.isSecureEntryPoint ? [.sha256, .sha384] : []
        ds = functions.compactMap { key.delegationSigner($0)?.description }
    }

    var line: String { "\(name) \(role) \(state) \(since)" }
}
