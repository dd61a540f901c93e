import DNS

/// What changed from one version of a zone to a later one (RFC 1995 §4).
package struct ZoneDifference: Hashable, Sendable {
    /// The SOA record of the version before.
    package var former: ResourceRecord
    /// The records that went, without the SOA record.
    package var removed: [ResourceRecord]
    /// The SOA record of the version after.
    package var latter: ResourceRecord
    /// The records that came, without the SOA record.
    package var added: [ResourceRecord]

    package init(
        former: ResourceRecord,
        removed: [ResourceRecord] = [],
        latter: ResourceRecord,
        added: [ResourceRecord] = []
    ) {
        self.former = former
        self.removed = removed
        self.latter = latter
        self.added = added
    }

    /// The difference's records in the order in which a transfer has them.
    package var records: [ResourceRecord] { [former] + removed + [latter] + added }
}

/// What makes a record the same one as another within a zone: all but its time to live (RFC 2136 §1.1.1).
package struct RecordIdentity: Hashable, Sendable {
    private let name: DomainName
    private let type: RecordType
    private let data: [UInt8]

    package init(_ record: ResourceRecord) {
        name = record.name
        type = record.type
        data = record.canonicalData
    }
}
