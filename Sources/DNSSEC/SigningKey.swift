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

    /// The DS record for the parent, with SHA-256.
    package var delegationSigner: ResourceRecord? { record.digested(publicKey, as: .ds) }

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
    package func sign(_ set: RecordSet, inception: UInt32, expiration: UInt32) -> ResourceRecord? {
        guard set.name.isSubdomain(of: zone), set.type != .rrsig, let first = set.records.first else { return nil }
        let labels = set.name.labelCount - (set.name.isWildcard ? 1 : 0)
        // One time to live counts for the whole set (RFC 2181 §5.2).
        let timeToLive = set.records.reduce(first.timeToLive) { min($0, $1.timeToLive) }
        let head =
            octets(set.type.rawValue) + [publicKey.algorithm, UInt8(truncatingIfNeeded: labels)] + octets(timeToLive)
            + octets(expiration) + octets(inception) + octets(publicKey.keyTag) + zone.lowercased.wire
        guard let unsigned = signature(head, set.name, timeToLive), let fields = RecordSignature(unsigned),
            let data = set.signedData(fields)
        else { return nil }
        let signature = key.signature(of: data, using: hash)
        return signature.isEmpty ? nil : self.signature(head + signature, set.name, timeToLive)
    }

    private func signature(_ data: [UInt8], _ name: DomainName, _ timeToLive: UInt32) -> ResourceRecord? {
        try? ResourceRecord(name: name, type: .rrsig, timeToLive: timeToLive, wireData: data)
    }
}
