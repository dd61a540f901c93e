import DNS
import DNSSEC
import Daemon

/// How a zone is signed, whatever its version: its keys, and how it says that something isn't there.
package struct ZoneSigning: Sendable {
    var keys: ZoneKeySet
    var denial: LocalZoneConfiguration.Denial
    /// Since when others may have the zone with these keys, for a zone that goes to others; they get it anew when this has
    /// changed. Seconds since 1970.
    var stamp: UInt32?

    /// What stamps count from: the beginning of 2026. Seconds since 1970.
    private static let epoch: UInt32 = 1_767_225_600

    /// A version of the zone with the serial that shows, too, what signatures others have: the zone's own and the stamp.
    /// Each of both goes forward alone, and so does the sum.
    func version(_ zone: Zone) -> Zone {
        guard let stamp, let start = zone.start.withSerial(zone.serial &+ stamp &- Self.epoch) else { return zone }
        var nodes = zone.nodes
        nodes.set([start], .soa, at: zone.origin)
        return Zone(nodes, start: start)
    }
}

/// A version of a zone with what signing adds to it.
package struct SignedZone {
    let zone: Zone
    let signing: ZoneSigning
    /// What its top has beside or in the place of what its file says.
    let extras: [RecordType: [ResourceRecord]]

    /// What is made for each question, and is nothing for a file or an update to have; and digests of the whole zone, which has
    /// other signatures whenever it's asked for (RFC 8976).
    static let ownTypes: Set<RecordType> = [.rrsig, .nsec, .nsec3, .nsec3param, .zonemd]

    var origin: DomainName { zone.origin }
    var isCompact: Bool { signing.denial == .compact }
    /// Seconds for which a denial counts (RFC 9077 §3).
    var negativeTimeToLive: UInt32 { zone.negative.timeToLive }

    package init(_ zone: Zone, _ signing: ZoneSigning) {
        self.zone = zone
        self.signing = signing
        let own = zone.nodes[zone.origin] ?? [:]
        var extras: [RecordType: [ResourceRecord]] = [:]
        // Keys that the file names are others' signers of the same zone, or on their way in or out.
        extras[.dnskey] = Self.set((own[.dnskey] ?? []) + signing.keys.published)
        if own[.cds] == nil, own[.cdnskey] == nil {
            for record in signing.keys.requests { extras[record.type, default: []].append(record) }
        }
        if signing.denial == .nsec3 {
            let parameters = ResourceRecord.nextSecure3Parameters(zone.origin, timeToLive: zone.negative.timeToLive)
            extras[.nsec3param] = parameters.map { [$0] }
        }
        self.extras = extras
    }

    /// Records of one name and type with one time to live, each once.
    private static func set(_ records: [ResourceRecord]) -> [ResourceRecord] {
        let timeToLive = records.shortestLife() ?? 0
        var set: [ResourceRecord] = []
        for var record in records where !set.contains(where: { $0.data == record.data }) {
            record.timeToLive = timeToLive
            set.append(record)
        }
        return set
    }

    /// Where a name's records come from.
    func locate(_ name: DomainName, _ type: RecordType) -> Zone.Location {
        switch zone.locate(name, type) {
        case .node(let found): return .node(sets(of: name, found))
        case .wildcard(let source, let sets): return .wildcard(source, Self.withoutOthersSignatures(sets))
        case let other: return other
        }
    }

    /// What a name has, of what its node has.
    func sets(of name: DomainName, _ found: ZoneNodes.Sets) -> ZoneNodes.Sets {
        let own = Self.withoutOthersSignatures(found)
        return name == origin ? own.merging(extras) { $1 } : own
    }

    /// A secondary zone may have been signed where it comes from.
    private static func withoutOthersSignatures(_ sets: ZoneNodes.Sets) -> ZoneNodes.Sets {
        sets.keys.contains(where: ownTypes.contains) ? sets.filter { !ownTypes.contains($0.key) } : sets
    }
}
