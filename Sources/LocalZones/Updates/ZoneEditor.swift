import DNS
import ZoneTransfer

/// Changes a copy of a zone, and says at the end what has changed.
struct ZoneEditor {
    private let zone: Zone
    private(set) var nodes: ZoneNodes
    private var touched: Set<SetKey> = []

    private struct SetKey: Hashable {
        var name: DomainName
        var type: RecordType
    }

    init(_ zone: Zone) {
        self.zone = zone
        nodes = zone.nodes
    }

    var origin: DomainName { zone.origin }

    /// The records of a name by type; empty where there are none.
    func sets(_ name: DomainName) -> ZoneNodes.Sets { nodes[name] ?? [:] }

    func records(_ name: DomainName, _ type: RecordType) -> [ResourceRecord] { nodes[name]?[type] ?? [] }

    /// Puts records in the place of a set, all with the last one's time to live (RFC 2181 §5.2).
    mutating func replace(_ name: DomainName, _ type: RecordType, with records: [ResourceRecord]) {
        touched.insert(SetKey(name: name, type: type))
        var records = records
        let timeToLive = records.last?.timeToLive ?? 0
        for index in records.indices { records[index].timeToLive = timeToLive }
        nodes.set(records, type, at: name)
    }

    /// The changed zone and the difference to the one before, with a new serial where the change has none itself (RFC 2136
    /// §3.6); nil where nothing has changed.
    func finish() -> (zone: Zone, difference: ZoneDifference)? {
        var removed: [ResourceRecord] = []
        var added: [ResourceRecord] = []
        for key in touched where key.type != .soa {
            let before = zone.nodes[key.name]?[key.type] ?? []
            let after = records(key.name, key.type)
            removed += Self.records(before, notIn: after)
            added += Self.records(after, notIn: before)
        }
        guard var start = records(origin, .soa).first else { return nil }
        var nodes = nodes
        if start.isSame(as: zone.start) {
            guard !removed.isEmpty || !added.isEmpty else { return nil }
            guard let next = start.withSerial(Self.next(zone.serial)) else { return nil }
            start = next
            nodes.set([start], .soa, at: origin)
        }
        let difference = ZoneDifference(former: zone.start, removed: removed, latter: start, added: added)
        return (Zone(nodes, start: start), difference)
    }

    private static func records(_ set: [ResourceRecord], notIn other: [ResourceRecord]) -> [ResourceRecord] {
        let timesToLive = Dictionary(other.map { (RecordIdentity($0), $0.timeToLive) }) { first, _ in first }
        return set.filter { timesToLive[RecordIdentity($0)] != $0.timeToLive }
    }

    /// The next version; 0 is left out, since some take it for "none".
    private static func next(_ serial: UInt32) -> UInt32 {
        let next = SerialNumber(serial).next.rawValue
        return next == 0 ? 1 : next
    }
}

extension ResourceRecord {
    /// Whether the data is that of another record of the same name and type (RFC 2136 §1.1.1).
    func hasData(of other: ResourceRecord) -> Bool {
        if data == other.data { return true }
        // Canonical forms are as long, and differ in the case of letters alone: of most records none has to be made, which
        // counts where an update compares very many.
        guard data.elementsEqual(other.data, by: { asciiLowercased($0) == asciiLowercased($1) }) else { return false }
        return canonicalData == other.canonicalData
    }

    /// Whether the record is another one's like in all that a zone says.
    func isSame(as other: ResourceRecord) -> Bool {
        name == other.name && type == other.type && timeToLive == other.timeToLive && hasData(of: other)
    }

    /// An SOA record with another serial; nil for other records.
    func withSerial(_ serial: UInt32) -> ResourceRecord? {
        // The serial is the first of the five numbers at the end (RFC 1035 §3.3.13).
        guard type == .soa, data.count >= 20 else { return nil }
        var data = data
        let place = data.count - 20
        for index in 0..<4 { data[place + index] = UInt8(truncatingIfNeeded: serial >> UInt32(24 - index * 8)) }
        return try? ResourceRecord(name: name, type: type, class: `class`, timeToLive: timeToLive, wireData: data)
    }
}

extension Zone {
    /// The version after this one.
    ///
    /// - Throws: where the difference isn't one from this version.
    func applying(_ difference: ZoneDifference) throws(VersionMismatch) -> Zone {
        guard difference.former.isSame(as: start) else {
            throw VersionMismatch(description: "the zone is not the version that the difference begins with")
        }
        var nodes = nodes
        for record in difference.removed {
            var set = nodes[record.name]?[record.type] ?? []
            guard let index = set.firstIndex(where: { $0.hasData(of: record) }) else {
                throw VersionMismatch(description: "\(record.name) \(record.type) is to go and isn't there")
            }
            set.remove(at: index)
            nodes.set(set, record.type, at: record.name)
        }
        for record in difference.added {
            guard record.name.isSubdomain(of: origin) else {
                throw VersionMismatch(description: "\(record.name) is not in the zone")
            }
            var set = nodes[record.name]?[record.type] ?? []
            guard !set.contains(where: { $0.hasData(of: record) }) else {
                throw VersionMismatch(description: "\(record.name) \(record.type) is to come and is there")
            }
            set.append(record)
            nodes.set(set, record.type, at: record.name)
        }
        nodes.set([difference.latter], .soa, at: origin)
        return Zone(nodes, start: difference.latter)
    }

    /// What has changed since another version of the same zone.
    func difference(from former: Zone) -> ZoneDifference {
        ZoneDifference(
            former: former.start,
            removed: former.records(notIn: self),
            latter: start,
            added: records(notIn: former)
        )
    }

    private func records(notIn other: Zone) -> [ResourceRecord] {
        nodes.records.filter { record in
            guard record.type != .soa else { return false }
            return !(other.nodes[record.name]?[record.type] ?? []).contains { $0.isSame(as: record) }
        }
    }
}

extension ZoneDifference {
    /// Whether nothing has changed at all.
    var isEmpty: Bool { removed.isEmpty && added.isEmpty && former.isSame(as: latter) }
}

/// Why a difference isn't one from a version of a zone.
struct VersionMismatch: Error, CustomStringConvertible {
    let description: String
}
