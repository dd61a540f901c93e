import Cryptography
import DNS

/// Why something isn't believed: a code for programs (RFC 8914) and a text for people.
package struct Bogus: Error, Equatable, Sendable {
    package var code: UInt16
    package var text: String

    init(_ code: UInt16, _ text: String) {
        self.code = code
        self.text = text
    }
}

/// The keys of a zone that are known to be its own.
package struct TrustedKeys: Sendable {
    package let zone: DomainName
    private let keys: [(key: ZoneKey, verifier: PublicKey?)]

    /// How many keys of one tag are tried for a signature.
    private static let maximumCollisions = 4
    /// How many signatures of a set are tried.
    private static let maximumSignatures = 8

    /// - Parameter keys: the zone's DNSKEY set; keys that sign no zone data, and revoked ones, don't count.
    package init(zone: DomainName, keys: [ZoneKey], _ policy: ValidationPolicy) {
        self.zone = zone
        self.keys = keys.filter { $0.isZoneKey && !$0.isRevoked }.map { ($0, SigningAlgorithm.publicKey($0, policy)) }
    }

    /// What they take in memory, about: a key as it came, and as OpenSSL has it. Octets.
    var cost: Int { keys.reduce(200) { $0 + 1600 + 4 * $1.key.key.count } }

    /// A revoked key alone, which can prove its own revocation and nothing else (RFC 5011 §2.1).
    init(zone: DomainName, revoked key: ZoneKey, _ policy: ValidationPolicy) {
        self.zone = zone
        keys = key.isZoneKey ? [(key, SigningAlgorithm.publicKey(key, policy))] : []
    }

    /// The signature of the zone that proves a set.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Throws: `Bogus` when none does.
    package func verify(
        _ set: RecordSet,
        now: UInt32,
        _ policy: ValidationPolicy,
        _ budget: ValidationBudget
    ) throws(Bogus) -> RecordSignature {
        // Made for errors only.
        var what: String { "\(set.name) \(set.type)" }
        guard set.name.isSubdomain(of: zone) else {
            throw Bogus(ExtendedError.bogusCode, "\(what) is outside of \(zone)")
        }
        var reason: Bogus?
        for signature in set.signatures.filter({ $0.signer == zone }).prefix(Self.maximumSignatures) {
            guard let (_, hash) = SigningAlgorithm.parameters(signature.algorithm, policy) else { continue }
            if let (code, why) = Self.untimely(signature, now, policy) {
                reason = Bogus(code, "the signature of \(what) \(why)")
                continue
            }
            guard let data = set.signedData(signature) else {
                reason = Bogus(ExtendedError.bogusCode, "the signature of \(what) doesn't fit its name")
                continue
            }
            let candidates = keys.filter {
                $0.key.keyTag == signature.keyTag && $0.key.algorithm == signature.algorithm
            }
            if candidates.isEmpty {
                reason = Bogus(ExtendedError.keyMissingCode, "no key \(signature.keyTag) of \(zone) for \(what)")
            }
            for candidate in candidates.prefix(Self.maximumCollisions) {
                let mark = budget.verified?.mark(candidate.key, signature, data)
                if let mark, budget.verified?.contains(mark) ?? false { return signature }
                guard budget.takeSignature() else {
                    throw Bogus(ExtendedError.bogusCode, "checking \(what) would cost too much")
                }
                if candidate.verifier?.isValid(signature: signature.signature, of: data, using: hash) ?? false {
                    if let mark { budget.verified?.insert(mark) }
                    return signature
                }
                budget.countFailure()
                reason = Bogus(ExtendedError.bogusCode, "the signature of \(what) by key \(signature.keyTag) is wrong")
            }
        }
        throw reason ?? Bogus(ExtendedError.signaturesMissingCode, "\(what) has no signature of \(zone)")
    }

    /// Whether a signature counts now (RFC 4034 §3.1.5, in serial number arithmetic).
    private static func untimely(
        _ signature: RecordSignature,
        _ now: UInt32,
        _ policy: ValidationPolicy
    ) -> (UInt16, String)? {
        if Int32(bitPattern: signature.expiration &+ policy.clockSkew &- now) < 0 {
            return (ExtendedError.signatureExpiredCode, "has expired")
        }
        if Int32(bitPattern: now &+ policy.clockSkew &- signature.inception) < 0 {
            return (ExtendedError.signatureNotYetValidCode, "is not valid yet")
        }
        return nil
    }
}

extension DelegationSigner {
    /// Whether it speaks of a key of a zone (RFC 4034 §5.1.4).
    package func matches(_ key: ZoneKey, _ record: ResourceRecord) -> Bool {
        guard key.keyTag == keyTag, key.algorithm == algorithm, let function = SigningAlgorithm.digest(digestType)
        else {
            return false
        }
        return record.keyDigest(function) == digest
    }
}
