import CoreMetrics
import DNS
import Daemon
import DNSSEC
import NIOCore

/// Signs answers of local zones as they are asked for, on one event loop.
package final class ZoneSigner: @unchecked Sendable {
    // Unchecked: it belongs to the query engine of its loop, which debug builds check.
    private let maximumSignatures: Int
    private let clock: Clocks
    private let counters: ZoneCounters
    private var cache: SignatureCache
    /// The second of the resolver's clock for which signatures are counted.
    private var second: Int64 = 0
    private var made = 0

    /// Too many signatures would have to be made now.
    package struct Exhausted: Error {}

    /// How the client asks.
    package struct Client {
        var dnssecOK: Bool
        var compactOK: Bool
        /// Whether nothing shows that the client is where it says.
        var isDatagram: Bool

        package init(dnssecOK: Bool, compactOK: Bool, isDatagram: Bool) {
            self.dnssecOK = dnssecOK
            self.compactOK = compactOK
            self.isDatagram = isDatagram
        }
    }

    /// How long an answer with signatures may be kept ready. Seconds; far less than what is left of any of them.
    package static let answerLifetime: UInt32 = 3600
    /// How many sets of a name are signed for a question of type RRSIG.
    private static let maximumSets = 8

    /// - Parameter cacheLimit: what the signatures that are kept may take. Octets.
    package init(_ settings: ZoneSettings, cacheLimit: Int, clock: Clocks, counters: ZoneCounters) {
        maximumSignatures = settings.maximumSignatures
        self.clock = clock
        self.counters = counters
        cache = SignatureCache(limit: cacheLimit)
    }

    /// What a signed zone says to a question: with signatures and proofs where the client wants them.
    package func answer(_ question: Question, in zone: SignedZone, for client: Client) throws(Exhausted) -> LocalAnswer
    {
        if let answer = try explicit(question, zone, client) { return answer }
        let answer = zone.zone.answer(question, with: zone.extras)
        guard client.dnssecOK, answer.code != .serverFailure else { return answer }
        var signed = answer
        signed.isSigned = true
        signed.isCompact = zone.isCompact && client.compactOK
        signed.answers = []
        for set in RecordSet.sets(of: answer.answers) {
            signed.answers += set.records
            try sign(set, zone, client, &signed)
        }
        signed.additionals = try additionals(answer.additionals, zone, client)
        guard let first = answer.authorities.first else { return signed }
        if first.type == .ns {
            try sign(delegation: first.name, zone, client, &signed)
        } else {
            try deny(question, zone, client, &signed)
        }
        return signed
    }

    // MARK: Records

    private func sign(
        _ set: RecordSet,
        _ zone: SignedZone,
        _ client: Client,
        _ answer: inout LocalAnswer
    ) throws(Exhausted) {
        switch zone.locate(set.name, set.type) {
        case .node: answer.answers += try signatures(of: set.records, zone, client)
        case .wildcard(let source, let sets):
            if zone.isCompact {
                // The name is said to be there itself (RFC 9824 §3.3).
                answer.answers += try signatures(of: set.records, zone, client, isLasting: false)
            } else {
                let signatures = try signatures(of: sets[set.type] ?? [], zone, client)
                answer.answers += signatures.map { $0.owned(by: set.name) }
                let encloser = source.parent ?? zone.origin
                try prove([zone.missing(zone.nextCloser(set.name, encloser))], zone, client, &answer.proofs)
            }
        // What follows from a DNAME record has no signature (RFC 6672 §5.3.1).
        case .redirection, .cut, .missing: break
        }
    }

    private func additionals(
        _ records: [ResourceRecord],
        _ zone: SignedZone,
        _ client: Client
    ) throws(Exhausted) -> [ResourceRecord] {
        var all: [ResourceRecord] = []
        for set in RecordSet.sets(of: records) {
            all += set.records
            // Addresses below a cut aren't the zone's.
            if case .node = zone.locate(set.name, set.type) { all += try signatures(of: set.records, zone, client) }
        }
        return all
    }

    /// A referral to the servers of a zone below (RFC 4035 §3.1.4).
    private func sign(
        delegation cut: DomainName,
        _ zone: SignedZone,
        _ client: Client,
        _ answer: inout LocalAnswer
    ) throws(Exhausted) {
        let sets = zone.zone.nodes[cut] ?? [:]
        if let signers = sets[.ds] {
            answer.authorities += signers
            answer.authorities += try signatures(of: signers, zone, client)
        } else {
            try prove([zone.matching(cut, sets)], zone, client, &answer.authorities)
        }
    }

    /// Questions about signatures, and about NSEC records where each name has one.
    private func explicit(_ question: Question, _ zone: SignedZone, _ client: Client) throws(Exhausted) -> LocalAnswer?
    {
        guard question.type == .rrsig || question.type == .nsec && zone.isCompact else { return nil }
        var answer = LocalAnswer(isSigned: true, isCompact: zone.isCompact && client.compactOK)
        let sets: [RecordType: [ResourceRecord]]
        var isWildcard = false
        switch zone.locate(question.name, question.type) {
        case .node(let found): sets = found
        case .wildcard(_, let found): (sets, isWildcard) = (found, true)
        case .missing where zone.isCompact: sets = [:]
        case .missing, .cut, .redirection: return nil
        }
        if zone.isCompact, question.type == .nsec || sets.isEmpty {
            try prove(zone.denying(question.name, question.type), zone, client, &answer.answers)
            answer.answers.removeAll { $0.type != question.type && question.type == .rrsig }
            return answer
        }
        // Some of the signatures will do (RFC 8482 §4.1).
        for (_, records) in sets.sorted(by: { $0.key.rawValue < $1.key.rawValue }).prefix(Self.maximumSets) {
            let signed = zone.isCompact ? records.map { $0.owned(by: question.name) } : records
            let signatures = try signatures(of: signed, zone, client, isLasting: !isWildcard || !zone.isCompact)
            answer.answers += signatures.map { $0.owned(by: question.name) }
        }
        return answer.answers.isEmpty ? nil : answer
    }

    // MARK: Denials

    /// That there is no record of the type at the end of the chain of aliases (RFC 4035 §3.1.3, RFC 5155 §7.2, RFC 9824 §3).
    private func deny(
        _ question: Question,
        _ zone: SignedZone,
        _ client: Client,
        _ answer: inout LocalAnswer
    ) throws(Exhausted) {
        var name = question.name
        for record in answer.answers where record.type == .cname && record.name == name {
            name = record.target ?? name
        }
        answer.authorities += try signatures(of: zone.zone.nodes[zone.origin]?[.soa] ?? [], zone, client).map {
            // The signature is of the record as the zone has it; it's kept no longer than the denial (RFC 4035 §2.2).
            var record = $0
            record.timeToLive = zone.negativeTimeToLive
            return record
        }
        try prove(zone.denying(name, question.type), zone, client, &answer.authorities)
        if zone.isCompact, !client.compactOK, answer.code == .nameError {
            // Whoever validates takes it for a name without records (RFC 9824 §3.1).
            answer.code = .noError
        }
    }

    private func prove(
        _ proofs: [SignedZone.Proof?],
        _ zone: SignedZone,
        _ client: Client,
        _ section: inout [ResourceRecord]
    ) throws(Exhausted) {
        for case let proof? in proofs where !section.contains(proof.record) {
            section.append(proof.record)
            section += try signatures(of: [proof.record], zone, client, isLasting: proof.isLasting)
        }
    }

    // MARK: Signatures

    /// The signatures of a set, from the cache or made now.
    ///
    /// - Parameter isLasting: whether the set is worth to be kept: those about names that aren't there are without number.
    private func signatures(
        of records: [ResourceRecord],
        _ zone: SignedZone,
        _ client: Client,
        isLasting: Bool = true
    ) throws(Exhausted) -> [ResourceRecord] {
        guard let set = SignableSet(records) else { return [] }
        let now = clock.wallClock()
        var signatures: [ResourceRecord] = []
        for key in zone.signing.keys.signers(of: set.type) {
            if isLasting, let kept = cache.signature(of: set, by: key, now: now) {
                // The same name may have been asked for, and kept, in another case.
                signatures.append(kept.owned(by: set.owner))
                continue
            }
            try takeOne(client)
            let inception = now &- SignatureCache.backdating
            // So that signatures made together don't all end together.
            let expiration = now &+ .random(in: SignatureCache.shortest...SignatureCache.longest)
            guard let signature = key.sign(set, inception: inception, expiration: expiration) else { continue }
            counters.signatures.increment()
            signatures.append(signature)
            if isLasting { cache.keep(signature, of: set, by: key, inception: inception, expiration: expiration) }
        }
        return signatures
    }

    /// Counts a signature. Datagrams, whose senders may be forged, leave a quarter for the others.
    private func takeOne(_ client: Client) throws(Exhausted) {
        let now = clock.now()
        if now != second {
            second = now
            made = 0
        }
        let limit = client.isDatagram ? maximumSignatures - maximumSignatures / 4 : maximumSignatures
        guard made < limit else {
            counters.unsigned.increment()
            throw Exhausted()
        }
        made += 1
    }
}

extension ResourceRecord {
    /// The same record of another name.
    func owned(by name: DomainName) -> ResourceRecord {
        guard name.wire != self.name.wire else { return self }
        var record = self
        record.name = name
        return record
    }
}
