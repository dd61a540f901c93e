import Cryptography
import DNS
import Encodings

/// What a signature says of its key: where the public half is published, and what it's used with.
package struct SigningName: Sendable, Hashable {
    package let domain: [UInt8]
    package let selector: [UInt8]
    package let algorithm: SignatureAlgorithm

    /// - Throws: when domain and selector don't make a name, or nobody should sign with the algorithm.
    package init(
        domain: [UInt8],
        selector: [UInt8],
        algorithm: SignatureAlgorithm
    ) throws(DKIMSigningError) {
        guard Self.recordName(domain: domain, selector: selector) != nil else { throw .badName }
        guard algorithm != .rsaSHA1 else { throw .badKey }
        self.domain = domain
        self.selector = selector
        self.algorithm = algorithm
    }

    /// Where the public key is published (RFC 6376 §3.6.2.1); nil for what is no name.
    package static func recordName(domain: [UInt8], selector: [UInt8]) -> DomainName? {
        guard let domain = MailDomain.hostName(domain), let selector = MailDomain.hostName(selector) else { return nil }
        return try? DomainName(labels: selector.labels + [Array("_domainkey".utf8)[...]] + domain.labels)
    }
}

/// A key, and the name under which its public half is published.
package struct SigningKey: Sendable {
    package let name: SigningName
    private let key: PrivateKey

    /// SubjectPublicKeyInfo in DER.
    package var subjectPublicKeyInfo: [UInt8] { key.publicKey?.subjectPublicKeyInfo ?? [] }

    /// - Throws: when the name or the key can't be used.
    package init(domain: [UInt8], selector: [UInt8], key: PrivateKey) throws(DKIMSigningError) {
        let algorithm: SignatureAlgorithm? =
            switch key.kind {
            case .rsa where (key.publicKey?.bits ?? 0) >= 1024: .rsaSHA256
            case .ed25519: .ed25519SHA256
            default: nil
            }
        // The name's fault comes first.
        name = try SigningName(domain: domain, selector: selector, algorithm: algorithm ?? .rsaSHA256)
        guard algorithm != nil else { throw .badKey }
        self.key = key
    }

    /// Signs what a draft says.
    package func signature(of draft: SignatureDraft) throws(DKIMSigningError) -> [UInt8] {
        let signature =
            name.algorithm == .ed25519SHA256
            ? key.signature(of: draft.digest, using: nil) : key.signature(of: draft.input, using: .sha256)
        guard !signature.isEmpty else { throw .badKey }
        return signature
    }

    /// The text of the record to publish (RFC 6376 §3.6.1, RFC 8463 §4).
    package var record: [UInt8] {
        let publicKey = key.publicKey
        let octets = name.algorithm == .ed25519SHA256 ? publicKey?.raw : publicKey?.subjectPublicKeyInfo
        let type = name.algorithm.keyType.withUTF8Buffer { Array($0) }
        return Array("v=DKIM1; k=".utf8) + type + Array("; p=".utf8) + Base64.encode(octets ?? [])
    }

    /// The line to publish, as a master file has it: strings of at most 255 octets (RFC 1035 §3.3.14).
    package var masterFileLine: [UInt8] {
        let text = record
        var line = name.selector + Array("._domainkey.".utf8) + name.domain + Array(". IN TXT (".utf8)
        for start in stride(from: 0, to: text.count, by: 255) {
            line += Array(" \"".utf8) + text[start..<min(start + 255, text.count)] + [UInt8(ascii: "\"")]
        }
        return line + Array(" )".utf8)
    }
}

/// A signature's field that is ready but for what the private key has to say, which another process may hold.
package struct SignatureDraft: Sendable {
    package let name: SigningName
    let input: [UInt8]
    private let writer: SignatureWriter

    init(_ name: SigningName, _ writer: SignatureWriter, input: [UInt8]) {
        self.name = name
        self.writer = writer
        self.input = input
    }

    /// What the key signs: SHA-256 of the fields; with Ed25519 as if it were a message (RFC 8463 §3).
    package var digest: [UInt8] { HashFunction.sha256.digest(of: input) }

    /// The field with the signature, and CRLF at its end.
    package func field(_ signature: [UInt8]) -> [UInt8] { writer.signed(Base64.encode(signature)) }
}
