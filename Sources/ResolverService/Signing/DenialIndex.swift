import DNS
import DNSSEC

/// Where a zone that others have signed says what isn't there: the names with NSEC records in canonical order, or those with
/// NSEC3 records in the order of their hashes.
struct DenialIndex: Sendable {
    private enum Chain: Sendable {
        case names([DomainName])
        case hashes([(hash: [UInt8], owner: DomainName)], salt: [UInt8], iterations: Int)
    }

    private let chain: Chain

    /// With more iterations each denial would cost too much, and resolvers don't believe it anyway (RFC 9276 §3.2).
    private static let maximumIterations = 150

    /// Nil for a zone that isn't signed: without keys, or without signatures at its top. Looks at the whole zone.
    init?(_ zone: Zone) {
        guard let top = zone.nodes[zone.origin], top[.dnskey] != nil, top[.rrsig] != nil else { return nil }
        guard let parameters = top[.nsec3param]?.first?.data, parameters.count >= 5, parameters[0] == 1 else {
            let owners = zone.sortedNames.filter { $0.sets[.nsec] != nil }.map(\.name)
            guard owners.first == zone.origin else { return nil }
            chain = .names(owners)
            return
        }
        let iterations = Int(parameters[2]) << 8 | Int(parameters[3])
        let salt = Array(parameters[5...])
        guard iterations <= Self.maximumIterations else { return nil }
        var hashes: [(hash: [UInt8], owner: DomainName)] = []
        for (_, sets) in zone.nodes.all {
            for record in sets[.nsec3]?.compactMap(NextSecure3.init) ?? []
            where record.iterations == iterations && record.salt == salt && record.zone == zone.origin {
                guard let owner = sets[.nsec3]?.first?.name else { continue }
                hashes.append((record.hash, owner))
            }
        }
        guard !hashes.isEmpty else { return nil }
        hashes.sort { $0.hash.lexicographicallyPrecedes($1.hash) }
        chain = .hashes(hashes, salt: salt, iterations: iterations)
    }

    var isHashed: Bool {
        if case .hashes = chain { true } else { false }
    }

    /// Who has the record about a name itself; nil where none is.
    func matching(_ name: DomainName) -> DomainName? {
        switch chain {
        case .names(let owners):
            let place = Self.place(owners.count) { name < owners[$0] }
            return place >= 0 && owners[place] == name ? owners[place] : nil
        case .hashes(let hashes, let salt, let iterations):
            let hash = NameHash.hash(name, salt: salt, iterations: iterations)
            let place = Self.place(hashes.count) { hash.lexicographicallyPrecedes(hashes[$0].hash) }
            return place >= 0 && hashes[place].hash == hash ? hashes[place].owner : nil
        }
    }

    /// Who has the record of the gap in which a name lies that has none itself.
    func covering(_ name: DomainName) -> DomainName? {
        switch chain {
        case .names(let owners):
            let place = Self.place(owners.count) { name < owners[$0] }
            return place >= 0 ? owners[place] : owners.last
        case .hashes(let hashes, let salt, let iterations):
            let hash = NameHash.hash(name, salt: salt, iterations: iterations)
            let place = Self.place(hashes.count) { hash.lexicographicallyPrecedes(hashes[$0].hash) }
            // The gap behind the last hash goes round to the first one.
            return place >= 0 ? hashes[place].owner : hashes.last?.owner
        }
    }

    /// The last place that isn't behind what is looked for; -1 where all are.
    private static func place(_ count: Int, _ isBehind: (Int) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(middle) { high = middle } else { low = middle + 1 }
        }
        return low - 1
    }
}
