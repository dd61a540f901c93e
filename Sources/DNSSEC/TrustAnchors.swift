import Cryptography
import DNS

/// Where trust begins: keys that the administrator vouches for (RFC 4033 §5), and where it ends all the same.
package struct TrustAnchors: Sendable {
    private var anchors: [DomainName: [DelegationSigner]] = [:]
    private var negative: Set<DomainName> = []

    /// - Parameters:
    ///   - records: DS and DNSKEY records; others don't count, nor do keys that sign no zone data or are revoked.
    ///   - negative: names at and below which nothing is validated (RFC 7646).
    package init(_ records: [ResourceRecord], negative: Set<DomainName> = []) {
        self.negative = negative
        for record in records {
            if let signer = DelegationSigner(record), record.type == .ds {
                anchors[record.name, default: []].append(signer)
            } else if let signer = record.signer() {
                anchors[record.name, default: []].append(signer)
            }
        }
    }

    /// The keys of the root, of 2017 and 2024, as master file lines (https://data.iana.org/root-anchors/root-anchors.xml).
    package static let root = """
        . 172800 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
        . 172800 IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16

        """

    package var isEmpty: Bool { anchors.isEmpty }

    /// The anchor nearest above a name; nil where nothing is to be validated.
    func closest(to name: DomainName) -> (zone: DomainName, signers: [DelegationSigner])? {
        var next: DomainName? = name
        while let zone = next {
            if negative.contains(zone) { return nil }
            if let signers = anchors[zone] { return (zone, signers) }
            next = zone.parent
        }
        return nil
    }
}

extension ResourceRecord {
    /// What a parent says of this DNSKEY record, with SHA-256; nil for what is no key in use.
    package func signer() -> DelegationSigner? {
        guard type == .dnskey, let key = ZoneKey(self), key.isZoneKey, !key.isRevoked else { return nil }
        let digest = HashFunction.sha256.digest(of: name.lowercased.wire + data)
        let tag = [UInt8(truncatingIfNeeded: key.keyTag >> 8), UInt8(truncatingIfNeeded: key.keyTag)]
        let record = try? ResourceRecord(
            name: name,
            type: .ds,
            timeToLive: timeToLive,
            wireData: tag + [key.algorithm, 2] + digest
        )
        return record.flatMap(DelegationSigner.init)
    }
}
