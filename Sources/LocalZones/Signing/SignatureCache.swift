import Caching
import DNS
import DNSSEC

/// Signatures that were made, on one event loop.
struct SignatureCache {
    private struct Key: Hashable {
        var algorithm: UInt8
        /// Tags aren't enough: a key may have that of the one whose place it took.
        var publicKey: [UInt8]
        /// The set in its canonical form, its owner and time to live included.
        var set: [UInt8]
    }

    private struct Kept {
        var record: ResourceRecord
        var inception: UInt32
        var expiration: UInt32
    }

    private var signatures: BoundedCache<Key, Kept>

    /// For how long a signature counts, at most and at least. Seconds.
    static let longest: UInt32 = 7 * 86_400
    static let shortest: UInt32 = 6 * 86_400
    /// How far clocks may disagree. Seconds.
    static let backdating: UInt32 = 3600
    /// A signature is made anew when no more than this is left of it: a quarter. Seconds.
    static let renewal = longest / 4

    /// - Parameter limit: octets.
    init(limit: Int) {
        signatures = BoundedCache(limit: limit)
    }

    /// A signature that is kept; nil where there is none, or it has to be made anew.
    ///
    /// - Parameter now: seconds since 1970.
    mutating func signature(of set: SignableSet, by key: SigningKey, now: UInt32) -> ResourceRecord? {
        guard let kept = signatures.value(for: Self.key(set, key)) else { return nil }
        let left = Int32(bitPattern: kept.expiration &- now)
        // A clock that was put back must not give a signature that doesn't count yet.
        guard left > Int32(bitPattern: Self.renewal), Int32(bitPattern: now &- kept.inception) >= 0 else { return nil }
        return kept.record
    }

    mutating func keep(
        _ record: ResourceRecord,
        of set: SignableSet,
        by key: SigningKey,
        inception: UInt32,
        expiration: UInt32
    ) {
        let cost =
            MemoryLayout<ResourceRecord>.stride + memoryCost(ofOctets: set.canonicalForm.count)
            + memoryCost(ofOctets: record.data.count) + memoryCost(ofOctets: record.name.wireCount)
        let kept = Kept(record: record, inception: inception, expiration: expiration)
        signatures.insert(kept, for: Self.key(set, key), cost: cost)
    }

    /// What the signatures take now. Octets.
    var octets: Int { signatures.total }

    private static func key(_ set: SignableSet, _ key: SigningKey) -> Key {
        Key(algorithm: key.publicKey.algorithm, publicKey: key.publicKey.key, set: set.canonicalForm)
    }
}
