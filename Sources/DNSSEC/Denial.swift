import DNS

/// What a proof that there is nothing says.
package enum DenialVerdict: Equatable, Sendable {
    /// It's proven.
    case proven
    /// It's proven as far as an opt-out span allows: names without signatures may be there (RFC 5155 §9.2).
    case optedOut
    /// The proof's hash is iterated too often to look at (RFC 9276 §3.2).
    case tooExpensive
    /// Nothing is proven.
    case missing
}

/// Where a zone is cut, as a proof says.
package enum CutVerdict: Equatable, Sendable {
    /// The name is no cut, or doesn't exist.
    case none
    /// The zone below has no keys that the parent vouches for.
    case insecure
    /// Nothing is proven.
    case missing
}

/// Proofs by NSEC records that have been verified, all of one zone (RFC 4035 §5.4).
package struct Denial {
    private let zone: DomainName
    private let records: [NextSecure]

    package init(zone: DomainName, _ records: [ResourceRecord]) {
        self.zone = zone
        // The last name's next one is the top: no chain leads out of its zone (RFC 4034 §4.1.1).
        self.records = records.compactMap(NextSecure.init).filter { $0.next.isSubdomain(of: zone) }
    }

    package var isEmpty: Bool { records.isEmpty }

    /// That a name has no record of a type, itself or by a wildcard.
    package func noData(_ name: DomainName, _ type: RecordType) -> DenialVerdict {
        if let match = match(name) {
            return match.lacks(type) ? .proven : .missing
        }
        guard let span = span(over: name) else { return .missing }
        // The name has no records, but names below it do (RFC 4592 §2.2.2).
        if span.next.isSubdomain(of: name) { return .proven }
        guard let wildcard = try? encloser(of: name, span).prepending(label: [0x2A]), let match = match(wildcard) else {
            return .missing
        }
        return match.lacks(type) ? .proven : .missing
    }

    /// That a name doesn't exist, and no wildcard stands for it.
    package func noName(_ name: DomainName) -> DenialVerdict {
        // RFC 9824 §4.1: the name is there in order to say that it isn't.
        if match(name)?.types.contains(.nxname) ?? false { return .proven }
        guard let span = span(over: name), !span.next.isSubdomain(of: name),
            let wildcard = try? encloser(of: name, span).prepending(label: [0x2A]),
            self.span(over: wildcard) != nil
        else { return .missing }
        return .proven
    }

    /// That a name doesn't exist, so that a wildcard with so many labels could stand for it.
    package func noCloserMatch(_ name: DomainName, labels: Int) -> DenialVerdict {
        guard let span = span(over: name), encloser(of: name, span).labelCount <= labels else { return .missing }
        return .proven
    }

    /// Whether a zone below begins at a name.
    package func cut(_ name: DomainName) -> CutVerdict {
        if let match = match(name) {
            guard !match.types.contains(.ds) else { return .missing }
            guard match.types.contains(.ns) else { return .none }
            return match.types.contains(.soa) ? .missing : .insecure
        }
        guard span(over: name) != nil else { return .missing }
        return .none
    }

    private func match(_ name: DomainName) -> NextSecure? { records.first { $0.owner == name } }

    /// The record whose gap a name falls into. One of a zone's parent, or of a name that is redirected as a whole, says
    /// nothing of names below (RFC 6840 §4.1).
    private func span(over name: DomainName) -> NextSecure? {
        records.first { record in
            guard name.isSubdomain(of: zone), record.owner < name else { return false }
            guard name < record.next || (record.next == zone) else { return false }
            guard name.isSubdomain(of: record.owner), record.owner != name else { return true }
            return !record.types.contains(.dname) && (!record.types.contains(.ns) || record.types.contains(.soa))
        }
    }

    /// The longest name above that exists, as the gap's ends show.
    private func encloser(of name: DomainName, _ span: NextSecure) -> DomainName {
        let one = name.sharedSuffix(span.owner)
        let other = name.sharedSuffix(span.next)
        return one.labelCount >= other.labelCount ? one : other
    }
}

extension NextSecure {
    /// Whether the name has no record of a type, and the record is from the zone that would have it.
    fileprivate func lacks(_ type: RecordType) -> Bool { types.lack(type, isRoot: owner.isRoot) }
}

extension TypeBitmap {
    /// Whether a name with these types has no record of a type, and the proof is from the zone that would have it
    /// (RFC 6840 §4.4): DS is the parent's, everything else the child's.
    func lack(_ type: RecordType, isRoot: Bool) -> Bool {
        guard !contains(type), !contains(.cname) else { return false }
        if type == .ds { return !contains(.soa) || isRoot }
        return !contains(.ns) || contains(.soa)
    }
}

extension DomainName {
    /// The longest name that this one and another are both below, or are.
    package func sharedSuffix(_ other: DomainName) -> DomainName {
        for count in stride(from: min(labelCount, other.labelCount), to: 0, by: -1) {
            let suffix = self.suffix(labels: count)
            if suffix == other.suffix(labels: count) { return suffix }
        }
        return .root
    }
}
