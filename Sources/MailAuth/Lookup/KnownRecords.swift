import Caching
import Cryptography
import NIOConcurrencyHelpers

/// Keys and SPF records that were read lately: a sender's come with each of his messages, and to read a key takes longer
/// than to verify by it. What is kept follows from a record's text alone, so that it's never out of date.
package final class KnownRecords: Sendable {
    private struct KeySource: Hashable {
        let text: [UInt8]
        let algorithm: SignatureAlgorithm
        let bits: ClosedRange<Int>
    }

    struct Key: Sendable {
        let record: DKIMKeyRecord
        let key: PublicKey
    }

    /// Octets, of each kind.
    private static let memory = 4 << 20
    /// What OpenSSL keeps of a key of 4096 bits that has verified something. Octets.
    private static let keyMemory = 6144

    private let keys = NIOLockedValueBox(BoundedCache<KeySource, Key>(limit: memory))
    private let policies = NIOLockedValueBox(BoundedCache<[UInt8], SPFRecord>(limit: memory))

    package init() {}

    /// How many keys there are.
    package var keyCount: Int { keys.withLockedValue { $0.count } }

    /// The key that was read from a record's text for signatures of an algorithm; nil where it has to be read.
    func key(of text: [UInt8], for algorithm: SignatureAlgorithm, _ limits: SignatureLimits) -> Key? {
        let source = KeySource(text: text, algorithm: algorithm, bits: limits.keyBits)
        return keys.withLockedValue { $0.value(for: source) }
    }

    func keep(_ key: Key, of text: [UInt8], for algorithm: SignatureAlgorithm, _ limits: SignatureLimits) {
        let source = KeySource(text: text, algorithm: algorithm, bits: limits.keyBits)
        // The text, and what was read from it.
        let cost = 3 * memoryCost(ofOctets: text.count) + Self.keyMemory
        keys.withLockedValue { $0.insert(key, for: source, cost: cost) }
    }

    /// The SPF record that a text is.
    func policy(_ text: [UInt8]) throws(SPFSyntaxError) -> SPFRecord {
        if let known = policies.withLockedValue({ $0.value(for: text) }) { return known }
        let policy = try SPFRecord(parsing: text)
        // The shortest directive has two octets, and some arrays of its own.
        let cost = memoryCost(ofOctets: text.count) + (policy.directives.count + 2) * Self.directiveMemory
        policies.withLockedValue { $0.insert(policy, for: text, cost: cost) }
        return policy
    }

    /// Octets, without those of its text.
    private static let directiveMemory = 512
}

extension SignatureLimits {
    fileprivate var keyBits: ClosedRange<Int> { minimumKeyBits...max(minimumKeyBits, maximumKeyBits) }
}
