import DNS

/// Collects a zone's records and checks them against each other.
struct ZoneBuilder {
    let origin: DomainName
    let file: String
    private(set) var nodes: ZoneNodes
    private var places: [DomainName: (file: String, line: Int)] = [:]

    init(origin: DomainName, file: String) {
        self.origin = origin
        self.file = file
        nodes = ZoneNodes(origin: origin)
    }

    mutating func add(_ entry: MasterFileRecord) throws(MasterFileError) {
        let record = entry.record
        func wrong(_ reason: String) -> MasterFileError {
            MasterFileError(file: entry.file, line: entry.line, reason: reason)
        }
        guard record.name.isSubdomain(of: origin) else { throw wrong("\(record.name) is not in the zone \(origin)") }
        if record.type == .soa {
            guard record.name == origin else { throw wrong("SOA belongs to the zone's top, \(origin)") }
            guard nodes[origin]?[.soa] == nil else { throw wrong("a second SOA") }
        }
        var set = nodes[record.name]?[record.type] ?? []
        guard !set.contains(where: { $0.data == record.data }) else { return }
        if record.type == .cname || record.type == .dname, !set.isEmpty {
            throw wrong("a second \(record.type) at \(record.name)")
        }
        // One set has one time to live (RFC 2181 §5.2): the first record's. Signatures have that of what they cover, which
        // they begin with (RFC 4034 §3).
        var added = record
        let first = set.first { record.type != .rrsig || $0.data.prefix(2) == record.data.prefix(2) }
        if let first { added.timeToLive = first.timeToLive }
        set.append(added)
        nodes.set(set, record.type, at: record.name)
        if places[record.name] == nil || record.type == .cname || record.type == .dname {
            places[record.name] = (entry.file, entry.line)
        }
    }

    /// The SOA record, after the checks that need the whole zone.
    func finish() throws(MasterFileError) -> ResourceRecord {
        guard let start = nodes[origin]?[.soa]?.first else {
            throw MasterFileError(file: file, line: 0, reason: "no SOA record at \(origin)")
        }
        for (name, sets) in nodes.all where sets[.cname] != nil {
            // Signatures and NSEC may stand beside an alias (RFC 4035 §2.5).
            if let other = sets.keys.first(where: { ![.cname, .rrsig, .nsec].contains($0) }) {
                throw wrong(name, "CNAME and \(other) at \(name)")
            }
        }
        for (name, _) in nodes.all where name != origin {
            var above = name.parent
            while let ancestor = above, ancestor.isSubdomain(of: origin) {
                if nodes[ancestor]?[.dname] != nil {
                    throw wrong(ancestor, "\(name) lies below the DNAME at \(ancestor)")
                }
                above = ancestor.parent
            }
        }
        return start
    }

    private func wrong(_ name: DomainName, _ reason: String) -> MasterFileError {
        MasterFileError(file: places[name]?.file ?? file, line: places[name]?.line ?? 0, reason: reason)
    }
}
