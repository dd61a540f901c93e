import Cryptography
import DNS

/// Proofs by NSEC3 records that have been verified, all of one zone (RFC 5155 §8).
package struct HashedDenial {
    private let zone: DomainName
    private let records: [NextSecure3]
    private let isTooExpensive: Bool
    private let budget: ValidationBudget

    package init(zone: DomainName, _ records: [ResourceRecord], _ policy: ValidationPolicy, _ budget: ValidationBudget)
    {
        let all = records.compactMap(NextSecure3.init)
            .filter { $0.zone == zone && $0.hashAlgorithm == 1 && !$0.hasUnknownFlags && $0.hash.count == 20 }
        // One proof has one set of parameters (RFC 5155 §8.2).
        let first = all.first
        self.records = all.filter { $0.iterations == first?.iterations && $0.salt == first?.salt }
        self.zone = zone
        self.budget = budget
        isTooExpensive = (first?.iterations ?? 0) > policy.maximumIterations
    }

    package var isEmpty: Bool { records.isEmpty }

    /// That a name has no record of a type, itself or by a wildcard.
    package func noData(_ name: DomainName, _ type: RecordType) -> DenialVerdict {
        guard !isTooExpensive else { return .tooExpensive }
        if let match = match(name) { return match.types.lack(type, isRoot: name.isRoot) ? .proven : .missing }
        guard let (encloser, cover) = closestEncloser(of: name) else { return .missing }
        // In such a span an unsigned zone may be at the name, or below it: then it's there without records, and has no NSEC3
        // record either (RFC 5155 §7.1, §8.6, §9.2). A wildcard wouldn't stand for it, whatever that one has.
        if cover.isOptOut { return .optedOut }
        guard let wildcard = try? encloser.prepending(label: [0x2A]), let match = match(wildcard),
            match.types.lack(type, isRoot: false)
        else { return .missing }
        return .proven
    }

    /// That a name doesn't exist, and no wildcard stands for it.
    package func noName(_ name: DomainName) -> DenialVerdict {
        guard !isTooExpensive else { return .tooExpensive }
        guard let (encloser, cover) = closestEncloser(of: name),
            let wildcard = try? encloser.prepending(label: [0x2A]), self.cover(wildcard) != nil
        else { return .missing }
        return cover.isOptOut ? .optedOut : .proven
    }

    /// That a name doesn't exist, so that a wildcard with so many labels could stand for it.
    package func noCloserMatch(_ name: DomainName, labels: Int) -> DenialVerdict {
        guard !isTooExpensive else { return .tooExpensive }
        guard let cover = cover(name.suffix(labels: labels + 1)) else { return .missing }
        return cover.isOptOut ? .optedOut : .proven
    }

    /// Whether a zone below begins at a name.
    package func cut(_ name: DomainName) -> CutVerdict {
        guard !isTooExpensive else { return .insecure }
        if let match = match(name) {
            guard !match.types.contains(.ds) else { return .missing }
            guard match.types.contains(.ns) else { return .none }
            return match.types.contains(.soa) ? .missing : .insecure
        }
        guard let (_, cover) = closestEncloser(of: name) else { return .missing }
        return cover.isOptOut ? .insecure : .none
    }

    /// The longest name above that exists, and the record that says that the next longer one doesn't (RFC 5155 §8.3).
    private func closestEncloser(of name: DomainName) -> (DomainName, NextSecure3)? {
        var next = name
        while let candidate = next.parent, candidate.isSubdomain(of: zone) {
            if let match = match(candidate) {
                // A zone's parent, and a name that is redirected as a whole, say nothing of names below.
                guard !match.types.contains(.dname), !match.types.contains(.ns) || match.types.contains(.soa),
                    let cover = cover(next)
                else { return nil }
                return (candidate, cover)
            }
            next = candidate
        }
        return nil
    }

    private func match(_ name: DomainName) -> NextSecure3? {
        guard let hash = hash(name) else { return nil }
        return records.first { $0.hash == hash }
    }

    private func cover(_ name: DomainName) -> NextSecure3? {
        guard let hash = hash(name) else { return nil }
        return records.first { record in
            let isBehind = record.hash.lexicographicallyPrecedes(hash)
            let isBefore = hash.lexicographicallyPrecedes(record.next)
            // The last record's next is the first one.
            return record.hash.lexicographicallyPrecedes(record.next) ? isBehind && isBefore : isBehind || isBefore
        }
    }

    private func hash(_ name: DomainName) -> [UInt8]? {
        guard let first = records.first, name.isSubdomain(of: zone),
            budget.takeHash(rounds: 1 + Int(first.iterations))
        else { return nil }
        return NameHash.hash(name, salt: first.salt, iterations: Int(first.iterations))
    }
}

/// The hash that takes the place of names (RFC 5155 §5).
package enum NameHash {
    /// The hash of a name with SHA-1, the only function that there is.
    package static func hash(_ name: DomainName, salt: [UInt8], iterations: Int) -> [UInt8] {
        var digest = Digest(.sha1)
        var hash = name.lowercased.wire
        for _ in 0...iterations {
            digest.update(hash)
            digest.update(salt)
            hash = digest.finalize()
        }
        return hash
    }
}
