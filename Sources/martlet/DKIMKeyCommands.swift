import ArgumentParser
import Daemon
import MailAuth

/// What the commands take that change the keys of a domain.
struct DKIMKeyOptions: ParsableArguments {
    @OptionGroup var instance: InstanceOptions
    @Option(help: "The domain that signs.") var domain: String
    @Flag(help: "For programs: one JSON document.") var json = false

    func work() throws -> DKIMKeyWork {
        try instance.enter()
        return DKIMKeyWork(try DKIMKeyring(domain))
    }
}

/// `martlet dkim list`.
struct DKIMListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists keys, a line each: domain, selector, algorithm, state, since when, and what the DNS says.",
        discussion: """
            Keys are published (their record is on the way), active (they sign), retiring (they sign no more, their record \
            is still needed) or retired (gone).
            """
    )

    @OptionGroup var instance: InstanceOptions
    @Option(help: "Only this domain's.") var domain: String?
    @Flag(help: "The records as well, as lines for a master file.") var records = false
    @Flag(help: "For programs: one JSON document.") var json = false

    func run() async throws {
        try instance.enter()
        var documents: [DKIMKeyDocument] = []
        for domain in domain.map({ [$0] }) ?? DKIMKeyring.domains() {
            documents += try await DKIMKeyWork(try DKIMKeyring(domain)).documents()
        }
        if json { return try JSONOutput.print(documents) }
        for document in documents {
            print(records ? "; \(document.line)" : document.line)
            if records, let line = document.masterFileLine { print(line) }
        }
    }
}

/// `martlet dkim rotate`.
struct DKIMRotateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Changes keys in two steps: makes new ones, and lets them sign when the DNS has them.",
        discussion: """
            Run it once, publish what it prints, and run it again: the new keys sign then, and the old ones are retiring. \
            Exits with 2 while a record is missing.
            """
    )

    @OptionGroup var options: DKIMKeyOptions
    @Option(help: "The size of a new RSA key, 1024 to 4096.") var bits = 2048
    @Flag(help: "Lets new keys sign whatever the DNS says.") var force = false

    func validate() throws {
        if !(1024...4096).contains(bits) { throw ValidationError("--bits is 1024 to 4096") }
    }

    func run() async throws {
        let rotation = try await options.work().rotate(force: force, bits: bits)
        if options.json {
            try JSONOutput.print(rotation.made + rotation.changed + rotation.waiting)
        } else {
            for key in rotation.made { key.show() }
            if let key = rotation.made.first {
                print("; when the DNS has them: martlet dkim rotate --domain \(key.domain)")
            }
            for key in rotation.changed { print(key.line) }
            for key in rotation.waiting { print("\(key.line)\n\(key.masterFileLine ?? "")") }
        }
        if !rotation.waiting.isEmpty { throw ExitCode(2) }
    }
}

/// `martlet dkim retire`.
struct DKIMRetireCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retire",
        abstract: "Takes away keys that have signed nothing for a week, with their records.",
        discussion: "With a SELECTOR: that key signs no more; one that doesn't sign is taken away."
    )

    @OptionGroup var options: DKIMKeyOptions
    @Argument(help: "Which keys.") var selectors: [String] = []
    @Flag(help: "Before the week is over, and the last key that signs too.") var force = false

    func run() async throws {
        let documents = try await options.work().retire(selectors, force: force)
        if options.json { return try JSONOutput.print(documents) }
        for document in documents { document.show() }
    }
}
