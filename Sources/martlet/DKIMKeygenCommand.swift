import ArgumentParser
import Cryptography
import Daemon
import MailAuth

#if canImport(Glibc)
import Glibc
#endif

/// `martlet dkim keygen`.
struct DKIMKeygenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen",
        abstract: "Makes keys for a domain, and prints the DNS records to publish.",
        discussion: """
            Two keys are made, one for RSA and one for Ed25519 (RFC 8463). They sign nothing until martlet dkim rotate finds \
            their records in the DNS. Where resolverd has the zone and takes updates for it, the records are published at \
            once. With --out, one key is written to a new file that only its owner can read, and nothing else is done.
            """
    )

    enum KeyType: String, ExpressibleByArgument, CaseIterable { case rsa, ed25519 }

    @OptionGroup var instance: InstanceOptions
    @Option(help: "The domain that signs.") var domain: String
    @Option(help: "The selector: a name for this key. By default one with the date.") var selector: String?
    @Option(help: "rsa or ed25519; by default one of each, and with --out rsa.") var type: KeyType?
    @Option(help: "The size of an RSA key, 1024 to 4096.") var bits = 2048
    @Option(help: ArgumentHelp("A file for the private key, outside of the instance.", valueName: "FILE")) var out:
        String?
    @Flag(help: "Lets the keys sign at once, whatever the DNS says.") var active = false
    @Flag(help: "For programs: one JSON document.") var json = false

    func validate() throws {
        if !(1024...4096).contains(bits) { throw ValidationError("--bits is 1024 to 4096") }
        if out != nil, selector == nil { throw ValidationError("--out needs --selector") }
        if out != nil, active { throw ValidationError("--active is for keys of the instance") }
        if out == nil, selector != nil, type == nil { throw ValidationError("--selector needs --type") }
        if out == nil, let selector, !SelectorList.isSelector(selector) {
            throw ValidationError("--selector is made of small letters, digits and hyphens")
        }
    }

    func run() async throws {
        if let out, let selector { return try makeFile(out, selector) }
        try instance.enter()
        let keyring = try DKIMKeyring(domain, makes: true)
        let algorithms: [SignatureAlgorithm] =
            switch type {
            case .rsa: [.rsaSHA256]
            case .ed25519: [.ed25519SHA256]
            case nil: [.ed25519SHA256, .rsaSHA256]
            }
        let made = try await DKIMKeyWork(keyring).add(
            algorithms,
            selector: selector,
            bits: bits,
            state: active ? .active : .published
        )
        if json { return try JSONOutput.print(made) }
        for key in made { key.show() }
        if !active { print("; when the DNS has them: martlet dkim rotate --domain \(keyring.domain)") }
    }

    // MARK: A key in a file

    private func makeFile(_ out: String, _ selector: String) throws {
        guard let key = PrivateKey.generate(type == .ed25519 ? .ed25519 : .rsa, bits: bits) else {
            throw ValidationError("OpenSSL made no key")
        }
        let signing: SigningKey
        do {
            signing = try SigningKey(domain: Array(domain.utf8), selector: Array(selector.utf8), key: key)
        } catch {
            throw ValidationError("\"\(selector)._domainkey.\(domain)\" is not a domain name")
        }
        try write(key.pem, to: out)
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

    private func write(_ octets: [UInt8], to out: String) throws {
        let descriptor = open(out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ValidationError("\(out): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        guard Glibc.write(descriptor, octets, octets.count) == octets.count, fsync(descriptor) == 0 else {
            throw ValidationError("\(out): \(String(cString: strerror(errno)))")
        }
    }
}
