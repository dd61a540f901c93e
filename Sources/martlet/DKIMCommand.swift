import ArgumentParser
import MailAuth

#if canImport(Glibc)
import Glibc
#endif

/// `martlet dkim`: keys, signatures and their verification.
struct DKIMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dkim",
        abstract: "Looks after the keys that mail is signed with, signs messages and verifies signatures (RFC 6376).",
        subcommands: [
            DKIMKeygenCommand.self, DKIMListCommand.self, DKIMRotateCommand.self, DKIMRetireCommand.self,
            DKIMSignCommand.self, DKIMVerifyCommand.self,
        ]
    )
}

extension Canonicalization: ExpressibleByArgument {}

/// `martlet dkim sign FILE`.
struct DKIMSignCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sign",
        abstract: "Puts DKIM signatures on a message and prints it.",
        discussion: "With several --key, as many signatures are made: RSA and Ed25519 side by side (RFC 8463)."
    )

    @Argument(help: "The message; - for standard input.") var file: String
    @Option(help: "The domain that signs.") var domain: String
    @Option(help: ArgumentHelp("A selector and its private key in PEM.", valueName: "SELECTOR=FILE")) var key: [String]
    @Option(help: "How the header is canonicalised: relaxed or simple.") var header: Canonicalization = .relaxed
    @Option(help: "How the body is canonicalised: relaxed or simple.") var body: Canonicalization = .relaxed
    @Option(help: "On whose behalf (i=): an address at the domain or below it.") var identity: String?
    @Option(help: ArgumentHelp("Until when it holds (x=), from now.", valueName: "SECONDS")) var expires: Int?
    @Option(help: ArgumentHelp("Sign only so much of the body (l=). Anybody may add more.", valueName: "OCTETS"))
    var bodyLength: Int?
    @Flag(help: "Put copies of the signed fields into the signature (z=).") var copyFields = false
    @Flag(help: "Print only the new fields.") var fieldsOnly = false
    @Option(help: ArgumentHelp("The time to sign with, since 1970.", valueName: "SECONDS")) var time: Int?

    func validate() throws {
        if key.isEmpty { throw ValidationError("--key is needed") }
        if let expires, !(1...(1 << 32)).contains(expires) { throw ValidationError("--expires is at least 1") }
        if let bodyLength, bodyLength < 0 { throw ValidationError("--body-length is at least 0") }
        try TimeOption.check(time)
    }

    func run() throws {
        let signers = try key.map { text in
            let key = try SigningKeyFile.read(text, domain: domain)
            var signer = DKIMSigner(key.name)
            signer.headerCanonicalization = header
            signer.bodyCanonicalization = body
            signer.identity = identity.map { Array($0.utf8) }
            signer.lifetime = expires
            signer.bodyLength = bodyLength
            signer.copiesFields = copyFields
            return (signer, key)
        }
        var message = MessageFile(file)
        let hashed = try message.hash(methods: signers.map(\.0.bodyHashMethod), keeping: !fieldsOnly)
        var fields: [UInt8] = []
        for (signer, key) in signers {
            do throws(DKIMSigningError) {
                fields += try signer.field(for: hashed, now: time ?? Glibc.time(nil), by: key)
            } catch {
                throw ValidationError("\(file): \(SigningKeyFile.reason(error))")
            }
        }
        try message.write(fields: fields, alone: fieldsOnly)
    }
}

/// `martlet dkim verify FILE`.
struct DKIMVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Verifies the DKIM signatures of a message.",
        discussion: """
            Exits with 0 when a signature passes, with 2 when none does and a key could not be looked up, with 1 \
            otherwise.
            """
    )

    @OptionGroup var options: CheckOptions

    func run() async throws {
        let (hashed, lookup) = try options.message()
        let outcomes = await DKIMVerifier.verify(hashed, lookup: lookup, now: options.now)
        if options.json {
            try JSONOutput.print(outcomes.map(DKIMOutcomeDocument.init))
        } else {
            DKIMOutcomeText.print(outcomes)
        }
        if outcomes.contains(where: { $0.result == .pass }) { return }
        throw ExitCode(outcomes.contains { $0.result == .temperror } ? 2 : 1)
    }
}
