import Cryptography
import MIME

/// A public key as a domain publishes it (RFC 6376 §3.6.1).
package struct DKIMKeyRecord: Sendable {
    /// k=, in small letters.
    package let keyType: [UInt8]
    /// p=; empty where the key is revoked.
    package let key: [UInt8]
    /// h=: hash functions that may be used; nil for all.
    package let hashes: [[UInt8]]?
    /// n=: for people.
    package let note: [UInt8]?
    /// t=y: the domain is only trying DKIM out.
    package let isTesting: Bool
    /// t=s: i= must name the domain itself.
    package let forbidsSubdomains: Bool

    /// The longest record that is read. Octets.
    static let maximumOctets = 8192

    /// Reads a record's text.
    package init(_ text: [UInt8]) throws(SignatureFault) {
        guard text.count <= Self.maximumOctets, let tags = try? TagList(text) else {
            throw SignatureFault(.permerror, "the key record is not a list of tags and values")
        }
        if let version = tags["v"] {
            guard version == Array("DKIM1".utf8), tags.tags.first?.name == [UInt8(ascii: "v")] else {
                throw SignatureFault(.permerror, "the key record does not begin with v=DKIM1")
            }
        }
        keyType = tags["k"]?.map(ASCII.lower) ?? Array("rsa".utf8)
        guard let value = tags["p"] else { throw SignatureFault(.permerror, "the key record has no key (p=)") }
        guard let key = TagList.base64(value) else {
            throw SignatureFault(.permerror, "the key (p=) is not base64")
        }
        self.key = key
        let colon = UInt8(ascii: ":")
        hashes = tags["h"].map { TagList.split($0.map(ASCII.lower), at: colon) }
        note = tags["n"].flatMap { QuotedText.decode($0) }
        let services = tags["s"].map { TagList.split($0, at: colon) } ?? [[UInt8(ascii: "*")]]
        guard services.contains(where: { $0 == [UInt8(ascii: "*")] || ASCII.equal($0, "email") }) else {
            throw SignatureFault(.permerror, "the key is not for mail (s=)")
        }
        let flags = tags["t"].map { TagList.split($0, at: colon) } ?? []
        isTesting = flags.contains([UInt8(ascii: "y")])
        forbidsSubdomains = flags.contains([UInt8(ascii: "s")])
    }

    /// The key for signatures of an algorithm.
    package func publicKey(
        for algorithm: SignatureAlgorithm,
        limits: SignatureLimits
    ) throws(SignatureFault) -> PublicKey {
        guard !key.isEmpty else { throw SignatureFault(.permerror, "the key has been revoked") }
        guard ASCII.equal(keyType, algorithm.keyType) else {
            throw SignatureFault(
                .permerror,
                "the key is for \(String(decoding: keyType.prefix(32), as: UTF8.self)), not for \(algorithm.rawValue)"
            )
        }
        if let hashes, !hashes.contains(Array("sha256".utf8)) {
            throw SignatureFault(.permerror, "the key is not for SHA-256 (h=)")
        }
        switch algorithm {
        case .rsaSHA1: throw SignatureFault(.permerror, "rsa-sha1 is no longer valid (RFC 8301)")
        case .ed25519SHA256:
            guard key.count == 32, let publicKey = PublicKey(.ed25519, raw: key) else {
                throw SignatureFault(.permerror, "the key (p=) is no Ed25519 key")
            }
            return publicKey
        case .rsaSHA256: return try rsaKey(limits)
        }
    }

    private func rsaKey(_ limits: SignatureLimits) throws(SignatureFault) -> PublicKey {
        // Both forms are about: RFC 6376 names RSAPublicKey, its examples hold a SubjectPublicKeyInfo.
        guard let (modulus, exponent) = PublicKey.rsaNumbers(of: key), let first = modulus.first else {
            throw SignatureFault(.permerror, "the key (p=) is no RSA key")
        }
        let bits = modulus.count * 8 - first.leadingZeroBitCount
        guard bits >= limits.minimumKeyBits else {
            throw SignatureFault(
                .permerror,
                "the key has \(bits) bits, and fewer than \(limits.minimumKeyBits) are not enough (RFC 8301)"
            )
        }
        guard bits <= limits.maximumKeyBits else {
            throw SignatureFault(.permerror, "the key has \(bits) bits, more than \(limits.maximumKeyBits)")
        }
        guard let publicKey = PublicKey(rsaModulus: modulus, exponent: exponent) else {
            throw SignatureFault(.permerror, "the key (p=) is no RSA key that can be used")
        }
        return publicKey
    }
}
