import Cryptography
import DNS

/// How zones sign (RFC 8624 §3.1): those algorithms that are checked.
enum SigningAlgorithm {
    /// The kind of key and the hash function of an algorithm; nil where it's not known, so that a zone that uses no
    /// other counts as unsigned (RFC 4035 §5.2).
    static func parameters(_ number: UInt8, _ policy: ValidationPolicy) -> (kind: KeyKind, hash: HashFunction?)? {
        switch number {
        case 5, 7: policy.acceptsSHA1 ? (.rsa, .sha1) : nil
        case 8: (.rsa, .sha256)
        case 10: (.rsa, .sha512)
        case 13: (.ecdsaP256, .sha256)
        case 14: (.ecdsaP384, .sha384)
        case 15: (.ed25519, nil)
        case 16: (.ed448, nil)
        default: nil
        }
    }

    /// The hash function of a DS record's digest (RFC 8624 §3.3); nil where it's not known.
    static func digest(_ type: UInt8) -> HashFunction? {
        switch type {
        case 1: .sha1
        case 2: .sha256
        case 4: .sha384
        default: nil
        }
    }

    /// The number of a hash function in DS records; nil where it has none.
    static func digestType(_ function: HashFunction) -> UInt8? {
        switch function {
        case .sha1: 1
        case .sha256: 2
        case .sha384: 4
        case .sha512: nil
        }
    }

    /// The key in a form to check signatures with; nil for one that is none, or of an algorithm that isn't known.
    static func publicKey(_ key: ZoneKey, _ policy: ValidationPolicy) -> PublicKey? {
        guard let (kind, _) = parameters(key.algorithm, policy) else { return nil }
        guard kind == .rsa else { return PublicKey(kind, raw: key.key) }
        // RFC 3110 §2: the exponent's length in one octet, or in two behind a zero.
        guard let first = key.key.first else { return nil }
        var rest = key.key.dropFirst()
        var length = Int(first)
        if first == 0 {
            guard rest.count >= 2, let high = rest.popFirst(), let low = rest.popFirst() else { return nil }
            length = Int(high) << 8 | Int(low)
        }
        guard length > 0, rest.count > length else { return nil }
        return PublicKey(rsaModulus: rest.dropFirst(length), exponent: rest.prefix(length))
    }
}

/// What is accepted, and what validation may cost.
package struct ValidationPolicy: Sendable {
    /// Whether algorithms with SHA-1 (5 and 7) count; zones that use no other are unsigned otherwise.
    package var acceptsSHA1 = true
    /// How far clocks may disagree. Seconds.
    package var clockSkew: UInt32 = 300
    /// Zones with more iterations of NSEC3's hash count as unsigned (RFC 9276 §3.2).
    package var maximumIterations: UInt16 = 150

    package init() {}
}

/// What the validation of one answer may still cost: what stands against KeyTrap (CVE-2023-50387) and against expensive
/// NSEC3 proofs (CVE-2023-50868).
package final class ValidationBudget {
    private var signatures: Int
    private var failures: Int
    private var hashes: Int
    package private(set) var isExhausted = false
    /// What needs no check any more, and costs nothing.
    let verified: VerifiedSignatures?

    /// - Parameters:
    ///   - signatures: checks of signatures in all.
    ///   - failures: checks that may fail.
    ///   - hashes: rounds of NSEC3's hash.
    ///   - verified: the signatures that were found to be right for other answers.
    package init(
        signatures: Int = 100,
        failures: Int = 16,
        hashes: Int = 12_000,
        verified: VerifiedSignatures? = nil
    ) {
        self.verified = verified
        self.signatures = signatures
        self.failures = failures
        self.hashes = hashes
    }

    func takeSignature() -> Bool {
        guard signatures > 0, failures > 0 else {
            isExhausted = true
            return false
        }
        signatures -= 1
        return true
    }

    func countFailure() { failures -= 1 }

    func takeHash(rounds: Int) -> Bool {
        guard hashes >= rounds else {
            isExhausted = true
            return false
        }
        hashes -= rounds
        return true
    }
}
