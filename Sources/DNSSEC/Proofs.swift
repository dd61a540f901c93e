import DNS

/// The NSEC and NSEC3 records of an answer that a zone's keys prove.
struct Proofs {
    private let plain: Denial
    private let hashed: HashedDenial
    /// How long all of them count. Seconds.
    let lifetime: UInt32
    /// The NSEC records among them, with their signatures.
    let gaps: [ResourceRecord]

    /// How many sets are looked at.
    private static let maximumSets = 16

    /// - Throws: `Bogus` when there are none, or no signature of the zone proves one.
    init(
        _ authorities: [ResourceRecord],
        _ keys: TrustedKeys,
        now: UInt32,
        _ policy: ValidationPolicy,
        _ budget: ValidationBudget
    ) throws(Bogus) {
        var proven: [ResourceRecord] = []
        var reason = Bogus(ExtendedError.proofMissingCode, "\(keys.zone) proves nothing")
        var shortest = UInt32.max
        let sets = RecordSet.sets(of: authorities).filter { $0.type == .nsec || $0.type == .nsec3 }
        for set in sets.prefix(Self.maximumSets) where set.name.isSubdomain(of: keys.zone) {
            do {
                let signature = try keys.verify(set, now: now, policy, budget)
                // One that a wildcard made says nothing of its own place.
                guard !set.isExpanded(signature) else { continue }
                proven += set.records
                shortest = min(shortest, set.lifetime(signature, now: now))
            } catch {
                reason = error
            }
        }
        guard !proven.isEmpty else { throw reason }
        lifetime = shortest
        let owners = Set(
            proven.lazy.compactMap(NextSecure.init).filter { $0.next.isSubdomain(of: keys.zone) }.map(\.owner)
        )
        gaps = authorities.filter { record in
            guard owners.contains(record.name) else { return false }
            return record.type == .nsec || RecordSignature(record)?.typeCovered == .nsec
        }
        plain = Denial(zone: keys.zone, proven)
        hashed = HashedDenial(zone: keys.zone, proven, policy, budget)
    }

    func noData(_ name: DomainName, _ type: RecordType) -> DenialVerdict {
        best(plain.noData(name, type)) { hashed.noData(name, type) }
    }

    func noName(_ name: DomainName) -> DenialVerdict {
        best(plain.noName(name)) { hashed.noName(name) }
    }

    func noCloserMatch(_ name: DomainName, labels: Int) -> DenialVerdict {
        best(plain.noCloserMatch(name, labels: labels)) { hashed.noCloserMatch(name, labels: labels) }
    }

    func cut(_ name: DomainName) -> CutVerdict {
        let verdict = plain.isEmpty ? CutVerdict.missing : plain.cut(name)
        return verdict == .missing && !hashed.isEmpty ? hashed.cut(name) : verdict
    }

    private func best(_ verdict: DenialVerdict, or other: () -> DenialVerdict) -> DenialVerdict {
        verdict == .missing && !hashed.isEmpty ? other() : verdict
    }
}
