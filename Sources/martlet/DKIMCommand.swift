import ArgumentParser
import Cryptography
import MailAuth

#if canImport(Glibc)
import Glibc
#endif

/// `martlet dkim`: keys, signatures and their verification.
struct DKIMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dkim",
        abstract: "Makes DKIM keys, signs messages and verifies signatures (RFC 6376).",
        subcommands: [DKIMKeygenCommand.self, DKIMSignCommand.self, DKIMVerifyCommand.self]
    )
}

extension Canonicalization: ExpressibleByArgument {}

/// `martlet dkim keygen`.
struct DKIMKeygenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen",
        abstract: "Makes a key, and prints the DNS record to publish.",
        discussion: "The private key is written as PEM to a new file that only its owner can read."
    )

    enum KeyType: String, ExpressibleByArgument, CaseIterable { case rsa, ed25519 }

    @Option(help: "The domain that signs.") var domain: String
    @Option(help: "The selector: a name for this key.") var selector: String
    @Option(help: "rsa or ed25519.") var type: KeyType = .rsa
    @Option(help: "The size of an RSA key, 1024 to 4096.") var bits = 2048
    @Option(help: ArgumentHelp("Where the private key goes.", valueName: "FILE")) var out: String
    @Flag(help: "For programs: one JSON document.") var json = false

    func validate() throws {
        if !(1024...4096).contains(bits) { throw ValidationError("--bits is 1024 to 4096") }
    }

    func run() throws {
        guard let key = PrivateKey.generate(type == .rsa ? .rsa : .ed25519, bits: bits) else {
            throw ValidationError("OpenSSL made no key")
        }
        let signing: SigningKey
        do {
            signing = try SigningKey(domain: Array(domain.utf8), selector: Array(selector.utf8), key: key)
        } catch {
            throw ValidationError("\"\(selector)._domainkey.\(domain)\" is not a domain name")
        }
        try write(key.pem)
        let line = String(decoding: signing.masterFileLine, as: UTF8.self)
        guard json else { return print(line) }
        try JSONOutput.print(
            Document(
                name: "\(selector)._domainkey.\(domain)",
                record: String(decoding: signing.record, as: UTF8.self),
                masterFileLine: line,
                keyFile: out
            )
        )
    }

    private struct Document: Encodable {
        var name: String
        var record: String
        var masterFileLine: String
        var keyFile: String
    }

    private func write(_ octets: [UInt8]) throws {
        let descriptor = open(out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ValidationError("\(out): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        guard Glibc.write(descriptor, octets, octets.count) == octets.count, fsync(descriptor) == 0 else {
            throw ValidationError("\(out): \(String(cString: strerror(errno)))")
        }
    }
}

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
