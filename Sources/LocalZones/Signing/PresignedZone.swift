import DNS
import DNSSEC

/// A version of a zone that others have signed, with what they signed: for clients that set DO (RFC 4035 §3.1, RFC 5155 §7.2).
package struct PresignedZone {
    private let zone: Zone
    private let index: DenialIndex

    /// Nil for a zone that isn't signed.
    package init?(_ zone: Zone) {
        guard let index = zone.denialIndex else { return nil }
        self.zone = zone
        self.index = index
    }

    /// What the zone says to a question of somebody who wants signatures.
    package func answer(_ question: Question) -> LocalAnswer {
        let plain = zone.answer(question)
        guard question.type != .rrsig, plain.code != .serverFailure else { return plain }
        var answer = plain
        answer.answers = []
        for set in RecordSet.sets(of: plain.answers) {
            answer.answers += set.records
            switch zone.locate(set.name, set.type) {
            case .node(let sets): answer.answers += signatures(of: set.type, in: sets)
            case .wildcard(let source, let sets):
                answer.answers += signatures(of: set.type, in: sets).map { $0.owned(by: set.name) }
                add(noCloser(set.name, than: source.parent ?? zone.origin), to: &answer.proofs)
            // What follows from a DNAME record has no signature (RFC 6672 §5.3.1).
            case .redirection, .cut, .missing: break
            }
        }
        guard let first = plain.authorities.first else { return answer }
        if first.type == .ns {
            delegate(first.name, &answer)
        } else {
            deny(question, &answer)
        }
        return answer
    }

    private func signatures(of type: RecordType, in sets: ZoneNodes.Sets) -> [ResourceRecord] {
        (sets[.rrsig] ?? []).filter { RecordSignature($0)?.typeCovered == type }
    }

    /// A referral to the servers of a zone below (RFC 4035 §3.1.4, RFC 5155 §7.2.7).
    private func delegate(_ cut: DomainName, _ answer: inout LocalAnswer) {
        let sets = zone.nodes[cut] ?? [:]
        if let signers = sets[.ds] {
            answer.authorities += signers + signatures(of: .ds, in: sets)
        } else {
            add(index.matching(cut).map { [$0] } ?? closestEncloser(of: cut).owners, to: &answer.authorities)
        }
    }

    /// That there is no record of the type at the end of the chain of aliases.
    private func deny(_ question: Question, _ answer: inout LocalAnswer) {
        var name = question.name
        for record in answer.answers where record.type == .cname && record.name == name {
            name = record.target ?? name
        }
        answer.authorities += signatures(of: .soa, in: zone.nodes[zone.origin] ?? [:]).map {
            // It's kept no longer than the denial.
            var record = $0
            record.timeToLive = zone.negative.timeToLive
            return record
        }
        add(denying(name, question.type), to: &answer.authorities)
    }

    /// Who has the records that say so.
    private func denying(_ name: DomainName, _ type: RecordType) -> [DomainName?] {
        switch zone.locate(name, type) {
        case .node:
            if let match = index.matching(name) { return [match] }
            // A name that is only there because of others below it; or, where unsigned delegations were left out, they and
            // the names above them.
            return index.isHashed ? closestEncloser(of: name).owners : [index.covering(name)]
        case .wildcard(let source, _):
            let encloser = source.parent ?? zone.origin
            let closest = index.isHashed ? [index.matching(encloser)] : []
            return closest + noCloser(name, than: encloser) + [index.matching(source)]
        case .missing(var encloser):
            var owners: [DomainName?] = [index.covering(name)]
            if index.isHashed { (encloser, owners) = closestEncloser(of: name) }
            return owners + [(try? encloser.prepending(label: [0x2A])).flatMap(index.covering)]
        case .cut, .redirection: return []
        }
    }

    /// That nothing between a name and the one above it that is there could have answered.
    private func noCloser(_ name: DomainName, than encloser: DomainName) -> [DomainName?] {
        [index.covering(index.isHashed ? name.suffix(labels: encloser.labelCount + 1) : name)]
    }

    /// The longest name above one that has a hash in the chain, and who says that, and that the next longer one has none (RFC
    /// 5155 §7.2.1).
    private func closestEncloser(of name: DomainName) -> (name: DomainName, owners: [DomainName?]) {
        var next = name
        if case .missing(let encloser) = zone.locate(name, .ds) { next = name.suffix(labels: encloser.labelCount + 1) }
        while let above = next.parent, above.isSubdomain(of: zone.origin) {
            if let match = index.matching(above) { return (above, [match, index.covering(next)]) }
            next = above
        }
        return (zone.origin, [])
    }

    /// Adds the NSEC or NSEC3 records of names, each once, with their signatures.
    private func add(_ owners: [DomainName?], to section: inout [ResourceRecord]) {
        let type: RecordType = index.isHashed ? .nsec3 : .nsec
        for case let owner? in owners where !section.contains(where: { $0.name == owner && $0.type == type }) {
            let sets = zone.nodes[owner] ?? [:]
            section += (sets[type] ?? []) + signatures(of: type, in: sets)
        }
    }
}
