import DNS
import DNSSEC

/// What says that something isn't there: NSEC records of RFC 9824, or NSEC3 records that cover one hash each.
extension SignedZone {
    struct Proof {
        var record: ResourceRecord
        /// Whether it's about a name that is there, or one of few: worth keeping. Names that aren't there are without number.
        var isLasting: Bool

        init?(_ record: ResourceRecord?, isLasting: Bool) {
            guard let record else { return nil }
            self.record = record
            self.isLasting = isLasting
        }
    }

    /// That a name has no record of a type, or isn't there.
    func denying(_ name: DomainName, _ type: RecordType) -> [Proof?] {
        switch locate(name, type) {
        case .node(let sets): return [matching(name, sets)]
        case .wildcard(let source, let sets):
            // The name is said to be there itself (RFC 9824 §3.3).
            if isCompact { return [matching(name, sets, isLasting: false)] }
            let encloser = source.parent ?? origin
            return [existing(encloser), missing(nextCloser(name, encloser)), matching(source, sets)]
        case .missing(let encloser):
            if isCompact { return [missing(name)] }
            let wildcard = try? encloser.prepending(label: [0x2A])
            return [
                existing(encloser), missing(nextCloser(name, encloser)),
                wildcard.flatMap { missing($0, isLasting: true) },
            ]
        case .cut, .redirection: return []
        }
    }

    /// That a name has these sets and no others.
    func matching(_ name: DomainName, _ sets: [RecordType: [ResourceRecord]], isLasting: Bool = true) -> Proof? {
        let types = types(name, sets)
        if isCompact {
            let record = ResourceRecord.nextSecure(
                name,
                within: origin,
                types: types,
                timeToLive: negativeTimeToLive
            )
            return Proof(record, isLasting: isLasting)
        }
        let record = ResourceRecord.nextSecure3(
            matching: NameHash.hash(name),
            in: origin,
            types: types,
            timeToLive: negativeTimeToLive
        )
        return Proof(record, isLasting: isLasting)
    }

    /// The types that are said to be at a name with these sets.
    func types(_ name: DomainName, _ sets: ZoneNodes.Sets) -> Set<RecordType> {
        let isCut = name != origin && sets[.ns] != nil
        // Below a cut the zone vouches for nothing, and at it for the DS set alone.
        var types = Set(sets.keys.filter { !isCut || $0 == .ns || $0 == .ds })
        if isCompact {
            types.formUnion([.rrsig, .nsec])
        } else if types.contains(where: { !isCut || $0 == .ds }) {
            types.insert(.rrsig)
        }
        return types
    }

    /// That a name is there, whatever it has.
    private func existing(_ name: DomainName) -> Proof? {
        guard case .node(let sets) = locate(name, .ds) else { return nil }
        return matching(name, sets)
    }

    /// That a name isn't there (RFC 9824 §3.1, RFC 5155 §7.2).
    func missing(_ name: DomainName, isLasting: Bool = false) -> Proof? {
        guard isCompact else {
            let hash = NameHash.hash(name)
            let record = ResourceRecord.nextSecure3(covering: hash, in: origin, timeToLive: negativeTimeToLive)
            return Proof(record, isLasting: isLasting)
        }
        let record = ResourceRecord.nextSecure(
            name,
            within: origin,
            types: [.rrsig, .nsec, .nxname],
            timeToLive: negativeTimeToLive
        )
        return Proof(record, isLasting: isLasting)
    }

    /// The name one label longer than the longest one above a name that is there (RFC 5155 §1.3).
    func nextCloser(_ name: DomainName, _ encloser: DomainName) -> DomainName {
        name.suffix(labels: encloser.labelCount + 1)
    }
}
