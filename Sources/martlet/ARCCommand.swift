import ArgumentParser
import MailAuth

#if canImport(Glibc)
import Glibc
#endif

/// `martlet arc`: chains of hosts that vouch for what they saw.
struct ARCCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "arc",
        abstract: "Validates and seals ARC chains (RFC 8617).",
        subcommands: [ARCVerifyCommand.self, ARCSealCommand.self]
    )
}

/// `martlet arc verify FILE`.
struct ARCVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Validates the ARC chain of a message.",
        discussion: """
            Exits with 0 when the chain passes or there is none, with 2 when a key could not be looked up, with 1 when \
            it fails.
            """
    )

    @OptionGroup var options: CheckOptions

    func run() async throws {
        let (hashed, lookup) = try options.message()
        let outcome = await ARCValidator.validate(hashed, lookup: lookup, now: options.now)
        if options.json {
            try JSONOutput.print(ARCOutcomeDocument(outcome))
        } else {
            ARCOutcomeText.print(outcome)
        }
        if outcome.result == .fail { throw ExitCode(outcome.isTemporary ? 2 : 1) }
    }
}

/// `martlet arc seal FILE`.
struct ARCSealCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "seal",
        abstract: "Adds an ARC set to a message and prints it.",
        discussion: """
            The chain so far is validated first, and its result is sealed. What else the host found out is given with \
            --result, such as --result spf=pass.
            """
    )

    @Argument(help: "The message; - for standard input.") var file: String
    @Option(help: "The domain that seals.") var domain: String
    @Option(help: ArgumentHelp("A selector and its private key in PEM.", valueName: "SELECTOR=FILE")) var key: String
    @Option(help: "The name under which the results are given, else the domain.") var authservID: String?
    @Option(help: ArgumentHelp("What was found, in Authentication-Results form.", valueName: "METHOD=RESULT"))
    var result: [String] = []
    @Flag(help: "Print only the new fields.") var fieldsOnly = false
    @Option(help: ArgumentHelp("The time to seal with, since 1970.", valueName: "SECONDS")) var time: Int?
    @OptionGroup var source: LookupOptions

    func validate() throws { try TimeOption.check(time) }

    func run() async throws {
        let lookup = try source.lookup()
        let signing = try SigningKeyFile.read(key, domain: domain)
        let sealer = ARCSealer(signing.name)
        let now = time ?? Glibc.time(nil)
        var message = MessageFile(file)
        let hashed = try message.hash(methods: [sealer.bodyHashMethod], keeping: !fieldsOnly)
        let outcome = await ARCValidator.validate(hashed, lookup: lookup, now: now)
        guard !outcome.isTemporary else {
            DNSStub.complain("\(file): \(shown(outcome.reason))")
            throw ExitCode(2)
        }
        let results = try findings(outcome)
        let fields: [UInt8]
        do throws(ARCSealingError) {
            fields = try sealer.fields(for: hashed, after: outcome, results: results, now: now, by: signing)
        } catch {
            switch error {
            case .chainIsAtItsEnd:
                throw ValidationError("\(file): the chain is at its end: it says so, or has fifty sets")
            case .signing(let error): throw ValidationError("\(file): \(SigningKeyFile.reason(error))")
            }
        }
        try message.write(fields: fields, alone: fieldsOnly)
    }

    private func findings(_ outcome: ARCOutcome) throws -> AuthenticationResults {
        let text = "\(authservID ?? domain); " + (result.isEmpty ? "none" : result.joined(separator: "; "))
        guard var results = try? AuthenticationResults(field: Array(text.utf8)[...]) else {
            throw ValidationError("--result has to be like spf=pass smtp.mailfrom=example.org")
        }
        results.entries.append(AuthenticationResults.Entry(outcome))
        return results
    }
}

/// What a chain says, for people.
enum ARCOutcomeText {
    static func print(_ outcome: ARCOutcome, indent: String = "") {
        Swift.print("\(indent)chain: \(outcome.result.rawValue): \(shown(outcome.reason))")
        for signature in outcome.messageSignatures {
            let instance = signature.signature?.instance ?? 0
            Swift.print(
                "\(indent)    message signature \(instance): \(signature.result.rawValue): \(shown(signature.reason))"
            )
        }
        for seal in outcome.seals {
            Swift.print(
                "\(indent)    seal \(seal.instance) of \(shown(seal.domain)): \(seal.isGood ? "pass" : "fail")"
            )
        }
        if let oldest = outcome.oldestPass {
            let meaning = oldest == 0 ? "not changed since the first" : "last changed before instance \(oldest)"
            Swift.print("\(indent)    oldest pass \(oldest): the message was \(meaning)")
        }
    }
}

/// A chain's outcome, for programs.
struct ARCOutcomeDocument: Encodable {
    struct Seal: Encodable {
        var instance: Int
        var domain: String
        var isGood: Bool
    }

    var result: String
    var reason: String
    var sets: Int
    var oldestPass: Int?
    var isTemporary: Bool
    var messageSignatures: [DKIMOutcomeDocument]
    var seals: [Seal]

    init(_ outcome: ARCOutcome) {
        result = outcome.result.rawValue
        reason = outcome.reason
        sets = outcome.chain.highestInstance
        oldestPass = outcome.oldestPass
        isTemporary = outcome.isTemporary
        messageSignatures = outcome.messageSignatures.map(DKIMOutcomeDocument.init)
        seals = outcome.seals.map {
            Seal(instance: $0.instance, domain: String(decoding: $0.domain, as: UTF8.self), isGood: $0.isGood)
        }
    }
}
