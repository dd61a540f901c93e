import Caching
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
        let (owner, isOwn) = nearest(name)
        return isOwn ? owner : nil
    }

    /// Who has the record of the gap in which a name lies that has none itself.
    func covering(_ name: DomainName) -> DomainName? { nearest(name).owner }

    /// Who has the last record that isn't behind a name, and whether it's about the name itself. The gap behind the last
    /// one goes round to the first.
    private func nearest(_ name: DomainName) -> (owner: DomainName?, isOwn: Bool) {
        switch chain {
        case .names(let owners):
            let place = owners.lastPlace { name < $0 }
            let owner = place >= 0 ? owners[place] : owners.last
            return (owner, owner == name)
        case .hashes(let hashes, let salt, let iterations):
            let hash = NameHash.hash(name, salt: salt, iterations: iterations)
            let place = hashes.lastPlace { hash.lexicographicallyPrecedes($0.hash) }
            let found = place >= 0 ? hashes[place] : hashes.last
            return (found?.owner, found?.hash == hash)
        }
    }
}
