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

    /// Anchors from a master file's octets.
    ///
    /// - Throws: for what isn't a master file.
    package init(masterFile octets: [UInt8], file: String, negative: Set<DomainName> = []) throws(MasterFileError) {
        let records = try MasterFile.parse(octets, file: file, origin: .root) { _ in
            .failure(MasterFileIncludeError(reason: "trust anchors include nothing"))
        }
        self.init(records.map(\.record), negative: negative)
    }

    /// The keys of the root, of 2017 and 2024, as master file lines (https://data.iana.org/root-anchors/root-anchors.xml).
    package static let root = """
        . 172800 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
        . 172800 IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16

        """

    package var isEmpty: Bool { anchors.isEmpty }

    /// The zones in which trust begins.
    package var zones: [DomainName] { anchors.keys.sorted() }

    /// What is trusted of one of them.
    package func signers(of zone: DomainName) -> [DelegationSigner] { anchors[zone] ?? [] }

    /// Trusts other keys of a zone from now on. With none left it's as if there never had been any (RFC 5011 §5).
    package mutating func replace(_ zone: DomainName, _ signers: [DelegationSigner]) {
        anchors[zone] = signers.isEmpty ? nil : signers
    }

    /// The zone in which the trust in a name begins; nil where nothing is to be validated.
    package func beginning(of name: DomainName) -> DomainName? { closest(to: name)?.zone }

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
        return digested(key, as: .ds).flatMap(DelegationSigner.init)
    }

    /// A DS or CDS record of this DNSKEY record. Nil for a function that has no number there.
    func digested(_ key: ZoneKey, as type: RecordType, _ function: HashFunction = .sha256) -> ResourceRecord? {
        guard let number = SigningAlgorithm.digestType(function) else { return nil }
        return try? ResourceRecord(
            name: name,
            type: type,
            timeToLive: timeToLive,
            wireData: [UInt8](integer: key.keyTag) + [key.algorithm, number] + keyDigest(function)
        )
    }

    /// What a DS record says of this DNSKEY record (RFC 4034 §5.1.4).
    func keyDigest(_ function: HashFunction) -> [UInt8] { function.digest(of: name.lowercased.wire + data) }
}
