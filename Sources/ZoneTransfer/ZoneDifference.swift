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

/// Differences that are not those of the zone that they were applied to.
package struct MisfitError: Error, Equatable, Sendable, CustomStringConvertible {
    /// For people.
    package let description: String
}

extension ZoneDifference {
    /// The records of a zone after one difference after the other.
    ///
    /// - Parameter records: all of the zone's, its SOA record among them.
    /// - Throws: when a record is to go that isn't there, or to come that is there, or a version is another one: the
    ///   zone was not the one that the differences were made from.
    package static func applying(
        _ differences: [ZoneDifference],
        to records: [ResourceRecord]
    ) throws(MisfitError) -> [ResourceRecord] {
        var zone: [RecordIdentity: ResourceRecord] = [:]
        zone.reserveCapacity(records.count)
        for record in records { zone[RecordIdentity(record)] = record }
        for difference in differences {
            guard zone.removeValue(forKey: RecordIdentity(difference.former)) != nil else {
                throw MisfitError(description: "the zone is not the version that the differences begin with")
            }
            for record in difference.removed where zone.removeValue(forKey: RecordIdentity(record)) == nil {
                throw MisfitError(description: "\(record.name) \(record.type) is to go and isn't there")
            }
            for record in [difference.latter] + difference.added
            where zone.updateValue(record, forKey: RecordIdentity(record)) != nil {
                throw MisfitError(description: "\(record.name) \(record.type) is to come and is there")
            }
        }
        return Array(zone.values)
    }
}
