import Caching
import DNS
import DNSSEC
import NIOCore

/// What other servers said to a question, scrubbed: only what belongs to the chain of aliases from the question's name.
package struct Outcome: Sendable {
    /// What is asked, and how the answer is to be used. Signatures are asked for always (DO), so that one answer serves clients
    /// that want them and those that don't.
    package struct Key: Hashable, Sendable {
        var name: DomainName
        var type: RecordType
        /// CD: the client validates itself.
        package var checkingDisabled: Bool

        package init(name: DomainName, type: RecordType, checkingDisabled: Bool) {
            self.name = name
            self.type = type
            self.checkingDisabled = checkingDisabled
        }

        /// The key under which it's kept that the name doesn't exist, whatever the type (RFC 2308 §5).
        var anyType: Key {
            Key(name: name, type: RecordType(rawValue: 0), checkingDisabled: checkingDisabled)
        }
    }

    // In a box, since async functions hand it on and on, and each has room in its frame for every copy of the whole.
    private var box: Box

    private final class Box: @unchecked Sendable {
        // Unchecked: it's changed by whoever holds it alone.
        var fields: Fields

        init(_ fields: Fields) { self.fields = fields }
    }

    private struct Fields {
        var code: ResponseCode
        var answers: [ResourceRecord]
        var authorities: [ResourceRecord]
        var isDenial: Bool
        var next: DomainName?
        var error: ExtendedError?
        var security = Security.unchecked
        var note: ExtendedError?
        var queries = 0
        var server: SocketAddress?
        var zone: DomainName?
    }

    package init(
        code: ResponseCode,
        answers: [ResourceRecord] = [],
        authorities: [ResourceRecord] = [],
        isDenial: Bool = false,
        error: ExtendedError? = nil
    ) {
        box = Box(Fields(code: code, answers: answers, authorities: authorities, isDenial: isDenial, error: error))
    }

    private var fields: Fields {
        get { box.fields }
        _modify {
            if !isKnownUniquelyReferenced(&box) { box = Box(box.fields) }
            yield &box.fields
        }
    }

    /// NOERROR, NXDOMAIN, or SERVFAIL where nobody gave an answer.
    package var code: ResponseCode {
        get { box.fields.code }
        _modify { yield &fields.code }
    }

    package var answers: [ResourceRecord] {
        get { box.fields.answers }
        _modify { yield &fields.answers }
    }

    /// The SOA record, and with DO the proof, of an answer that there is nothing.
    package var authorities: [ResourceRecord] {
        get { box.fields.authorities }
        _modify { yield &fields.authorities }
    }

    /// Whether the last name of the chain has no record of the type, or doesn't exist.
    var isDenial: Bool {
        get { box.fields.isDenial }
        _modify { yield &fields.isDenial }
    }

    /// Where the chain of aliases leads to what these servers aren't to be asked for.
    package var next: DomainName? {
        get { box.fields.next }
        _modify { yield &fields.next }
    }

    /// Why it failed.
    package var error: ExtendedError? {
        get { box.fields.error }
        _modify { yield &fields.error }
    }

    /// What its signatures are worth.
    package var security: Security {
        get { box.fields.security }
        _modify { yield &fields.security }
    }

    /// What the client is to know of it beside.
    package var note: ExtendedError? {
        get { box.fields.note }
        _modify { yield &fields.note }
    }

    /// How many queries it took; none for one from the cache.
    package var queries: Int {
        get { box.fields.queries }
        _modify { yield &fields.queries }
    }

    /// Who gave it: others may have a better one, where it's bogus.
    var server: SocketAddress? {
        get { box.fields.server }
        _modify { yield &fields.server }
    }

    /// The zone whose server gave it; nil where that isn't known, as of a forwarder.
    var zone: DomainName? {
        get { box.fields.zone }
        _modify { yield &fields.zone }
    }

    /// What the signatures of an answer are worth (RFC 4033 §5).
    package enum Security: Sendable {
        /// Nobody looked.
        case unchecked
        case secure
        /// There is a proof that it needs no signature.
        case insecure
        case bogus
    }

    /// That nobody gave an answer.
    static func failure(_ error: ExtendedError) -> Outcome { Outcome(code: .serverFailure, error: error) }

    /// Seconds for which it may be kept, 0 for not at all.
    package var lifetime: UInt32 {
        if error != nil { return security == .bogus ? TimeLimits.bogus : TimeLimits.failure }
        // RFC 2308 §5: without an SOA record it must not be kept that there is nothing.
        if isDenial, !authorities.contains(where: { $0.type == .soa }) { return 0 }
        return answers.shortestLife(with: authorities.shortestLife()) ?? 0
    }

    /// The same with times to live no longer than the limits.
    func limited(_ limits: TimeLimits) -> Outcome {
        let longest = isDenial ? limits.negative : limits.positive
        guard
            answers.contains(where: { $0.timeToLive > longest })
                || authorities.contains(where: { $0.timeToLive > longest })
        else { return self }
        var outcome = self
        for index in answers.indices where answers[index].timeToLive > longest {
            outcome.answers[index].timeToLive = longest
        }
        for index in authorities.indices where authorities[index].timeToLive > longest {
            outcome.authorities[index].timeToLive = longest
        }
        return outcome
    }

    /// The same `elapsed` seconds later.
    func aged(by elapsed: UInt32) -> Outcome {
        guard elapsed > 0 else { return self }
        var outcome = self
        for index in outcome.answers.indices { outcome.answers[index].age(by: elapsed) }
        for index in outcome.authorities.indices { outcome.authorities[index].age(by: elapsed) }
        return outcome
    }

    /// The same as it is given after its time (RFC 8767 §4).
    var stale: Outcome {
        var outcome = self
        for index in outcome.answers.indices { outcome.answers[index].timeToLive = TimeLimits.staleAnswer }
        for index in outcome.authorities.indices { outcome.authorities[index].timeToLive = TimeLimits.staleAnswer }
        outcome.note = ExtendedError(
            code: code == .nameError ? ExtendedError.staleNameErrorCode : ExtendedError.staleAnswerCode
        )
        return outcome
    }

    /// The same without signatures and proofs, for those who didn't ask for them.
    package func withoutSignatures(of type: RecordType) -> Outcome {
        guard answers.contains(where: { $0.type == .rrsig }) || authorities.contains(where: { $0.type != .soa }) else {
            return self
        }
        var outcome = self
        if type != .rrsig { outcome.answers.removeAll { $0.type == .rrsig } }
        outcome.authorities.removeAll { [.rrsig, .nsec, .nsec3].contains($0.type) }
        return outcome
    }

    /// Only the first alias of a chain, whose target is still to be asked for; nil where nothing is left out by that.
    ///
    /// - Parameter name: what was asked.
    func firstAlias(of name: DomainName) -> Outcome? {
        guard let place = answers.firstIndex(where: { $0.type == .cname && $0.name == name }),
            let target = answers[place].target
        else { return nil }
        let signatures = answers[(place + 1)...].prefix {
            $0.name == name && RecordSignature($0)?.typeCovered == .cname
        }
        guard isDenial || signatures.endIndex < answers.endIndex else { return nil }
        var outcome = self
        outcome.code = .noError
        outcome.isDenial = false
        outcome.answers = Array(answers[..<signatures.endIndex])
        outcome.authorities = authorities.filter { record in
            [.nsec, .nsec3].contains(record.type)
                || RecordSignature(record).map { [.nsec, .nsec3].contains($0.typeCovered) } ?? false
        }
        outcome.next = target
        return outcome
    }

    /// The same with no more memory than it must take, and how much that is beside its own struct. Octets.
    ///
    /// - Parameter name: the name that it's kept under: records of that name share its octets, as those of other names do
    ///   with the record before.
    func compacted(under name: DomainName) -> (Outcome, cost: Int) {
        var outcome = self
        var cost = name.wire.memoryCost + memoryCost(ofOctets: MemoryLayout<Fields>.size)
        outcome.answers = Self.compacted(answers, under: name, &cost)
        outcome.authorities = Self.compacted(authorities, under: name, &cost)
        for text in [error?.text, note?.text] { cost += memoryCost(ofOctets: text?.utf8.count ?? 0) }
        if let next { cost += next.wire.memoryCost }
        return (outcome, cost)
    }

    private static func compacted(
        _ records: [ResourceRecord],
        under name: DomainName,
        _ cost: inout Int
    ) -> [ResourceRecord] {
        var records = records.compacted
        var last = name
        for index in records.indices {
            if records[index].name == name {
                records[index].name = name
            } else if records[index].name == last {
                records[index].name = last
            } else {
                last = records[index].name
                cost += last.wire.memoryCost
            }
            cost += records[index].data.memoryCost
        }
        cost += records.memoryCost
        return records
    }
}

/// How long answers may be kept at most. Seconds.
package struct TimeLimits: Sendable {
    package var positive: UInt32
    package var negative: UInt32

    package init(positive: UInt32, negative: UInt32) {
        self.positive = positive
        self.negative = negative
    }

    /// How long it's kept that nobody gave an answer (RFC 9520 §3.2).
    static let failure: UInt32 = 5
    /// How long it's kept that signatures were wrong, so that not every query costs their check (RFC 4035 §4.7).
    static let bogus: UInt32 = 60
    /// How long an answer that has run out may still be given where no new one is to be had (RFC 8767 §5).
    static let stale: Int64 = 86400
    /// The time to live of such an answer, and how long no new one is asked for.
    static let staleAnswer: UInt32 = 30
}
