import Cryptography
import DNS

/// A key that a zone is signed with: ECDSA P-256 (RFC 6605) or Ed25519 (RFC 8080).
package struct SigningKey: Sendable {
    /// The zone.
    package let zone: DomainName
    /// The DNSKEY record that the zone publishes.
    package let record: ResourceRecord
    /// What resolvers see of the key.
    package let publicKey: ZoneKey
    private let key: PrivateKey
    private let hash: HashFunction?

    /// - Parameters:
    ///   - isSecureEntryPoint: whether the parent's DS record leads to it (RFC 4034 §2.1.1).
    ///   - timeToLive: seconds for which its DNSKEY record may be kept.
    ///   - isRevoked: whether it says of itself that it must not be trusted any more (RFC 5011 §2.1).
    ///
    /// Nil for a key of another kind.
    package init?(
        zone: DomainName,
        key: PrivateKey,
        isSecureEntryPoint: Bool,
        timeToLive: UInt32,
        isRevoked: Bool = false
    ) {
        let algorithm: UInt8
        let flags = (isSecureEntryPoint ? 0x01 : 0) | (isRevoked ? 0x80 : 0) as UInt8
        switch key.kind {
        case .ecdsaP256: (algorithm, hash) = (13, .sha256)
        case .ed25519: (algorithm, hash) = (15, nil)
        case .rsa, .ecdsaP384, .ed448: return nil
        }
        guard let octets = key.publicKey?.raw,
            let record = try? ResourceRecord(
                name: zone,
                type: .dnskey,
                timeToLive: timeToLive,
                wireData: [1, flags, 3, algorithm] + octets
            ), let publicKey = ZoneKey(record)
        else { return nil }
        self.zone = zone
        self.key = key
        self.record = record
        self.publicKey = publicKey
    }

    /// The DS record for the parent, with SHA-256 (RFC 4509) unless another function is named.
    package func delegationSigner(_ function: HashFunction = .sha256) -> ResourceRecord? {
        record.digested(publicKey, as: .ds, function)
    }

    /// The records by which the zone asks its parent for that DS record (RFC 7344 §3): CDS and CDNSKEY.
    package var parentRequests: [ResourceRecord] {
        let child = try? ResourceRecord(
            name: zone,
            type: .cdnskey,
            timeToLive: record.timeToLive,
            wireData: record.data
        )
        return [record.digested(publicKey, as: .cds), child].compactMap { $0 }
    }

    /// The signature of a set (RFC 4034 §3.1), its times in seconds since 1970. Nil for a set that is outside of the zone
    /// or that no key signs.
    package func sign(_ set: SignableSet, inception: UInt32, expiration: UInt32) -> ResourceRecord? {
        guard set.owner.isSubdomain(of: zone) else { return nil }
        let head =
            [UInt8](integer: set.type.rawValue) + [publicKey.algorithm, set.labels] + [UInt8](integer: set.timeToLive)
            + [UInt8](integer: expiration) + [UInt8](integer: inception) + [UInt8](integer: publicKey.keyTag)
            + zone.lowercased.wire
        let signature = key.signature(of: head + set.canonicalForm, using: hash)
        guard !signature.isEmpty else { return nil }
        return try? ResourceRecord(
            name: set.owner,
            type: .rrsig,
            timeToLive: set.timeToLive,
            wireData: head + signature
        )
    }
}

/// A set of records as a zone has it, ready to be signed.
package struct SignableSet: Sendable {
    /// The name that has the records; a wildcard's own name where one made them.
    package let owner: DomainName
    package let type: RecordType
    /// The records' time to live in the zone. Seconds.
    package let timeToLive: UInt32
    /// How many labels the name has, a wildcard's asterisk not counted (RFC 4034 §3.1.3).
    let labels: UInt8
    /// The records in canonical form and order (RFC 4034 §6), which tells sets apart.
    package let canonicalForm: [UInt8]

    /// Nil for no records, and for signatures, which nobody signs.
    package init?(_ records: [ResourceRecord]) {
        guard let first = records.first, first.type != .rrsig else { return nil }
        owner = first.name
        type = first.type
        // One time to live counts for the whole set (RFC 2181 §5.2).
        timeToLive = records.reduce(first.timeToLive) { min($0, $1.timeToLive) }
        labels = UInt8(truncatingIfNeeded: owner.labelCount - (owner.isWildcard ? 1 : 0))
        canonicalForm = RecordSet.canonicalForm(records, of: type, owner: owner.lowercased, timeToLive: timeToLive)
    }
}
