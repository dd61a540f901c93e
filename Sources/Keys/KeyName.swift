import Cryptography

/// The name of a private key: what it's for, and a digest of its public half. So a new key has a new name, and whoever has a name
/// gets signatures that fit the certificate it came with.
package struct KeyName: Hashable, Sendable, CustomStringConvertible {
    package enum Purpose: String, CaseIterable, Sendable { case tls, dkim }

    package let purpose: Purpose
    private let digest: String

    /// Of the key whose public half that is, a SubjectPublicKeyInfo in DER.
    package init(_ purpose: Purpose, subjectPublicKeyInfo: [UInt8]) {
        self.purpose = purpose
        let digits = Array("0123456789abcdef".utf8)
        let octets = HashFunction.sha256.digest(of: subjectPublicKeyInfo).prefix(Self.octets)
        digest = String(decoding: octets.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// As a frame has it; nil for what is no such name.
    package init?(_ text: String) {
        let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let purpose = Purpose(rawValue: String(parts[0])),
            parts[1].utf8.count == 2 * Self.octets,
            parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
        else { return nil }
        self.purpose = purpose
        digest = String(parts[1])
    }

    /// The name that the same key has where it's for something else.
    package func with(_ purpose: Purpose) -> KeyName { KeyName(purpose: purpose, digest: digest) }

    private init(purpose: Purpose, digest: String) {
        self.purpose = purpose
        self.digest = digest
    }

    package var description: String { "\(purpose.rawValue)-\(digest)" }

    /// Of the digest that are kept: enough that no two keys meet.
    private static let octets = 16
}
