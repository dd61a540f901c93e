import DNS
import Testing

@testable import DNSSEC

/// Signed zones that answer as their servers would.
final class TestZones {
    var records: [DomainName: [ResourceRecord]] = [:]
    private(set) var asked: [String] = []
    /// Changes a reply before it's given.
    var change: (DomainName, RecordType, inout SecurityReply) -> Void = { _, _, _ in }

    /// In 2027.
    static let now: UInt32 = 1_800_000_000

    init(_ texts: String...) throws {
        for text in texts {
            let all = try TestZones.parse(text)
            let origin = try #require(all.first { $0.type == .soa }?.name)
            records[origin] = all
        }
    }

    static func parse(_ text: String) throws -> [ResourceRecord] {
        try MasterFile.parse(Array((text + "\n").utf8), file: "test", origin: .root) { _ in
            .failure(MasterFileIncludeError(reason: ""))
        }
        .map(\.record)
    }

    /// The DS anchors of a zone's own keys.
    func anchors(_ zone: String, negative: Set<DomainName> = []) throws -> TrustAnchors {
        let keys = records[try DomainName(zone)]?.filter { $0.type == .dnskey } ?? []
        return TrustAnchors(keys, negative: negative)
    }

    /// What the zone that has the name says: all its proofs go with a denial, and a wildcard's records are expanded.
    func reply(_ name: DomainName, _ type: RecordType) -> SecurityReply {
        asked.append("\(name) \(type)")
        var reply = answer(name, type)
        change(name, type, &reply)
        return reply
    }

    private func answer(_ name: DomainName, _ type: RecordType) -> SecurityReply {
        let lookedFor = type == .ds ? name.parent ?? name : name
        let origin = records.keys.filter { lookedFor.isSubdomain(of: $0) }.max { $0.labelCount < $1.labelCount }
        let zone = origin.flatMap { records[$0] } ?? []
        let owned = zone.filter { $0.name == name }
        let found = pick(owned, type)
        if !found.isEmpty { return SecurityReply(code: .noError, answers: found, authorities: []) }
        let proofs: [RecordType] = [.soa, .nsec, .nsec3]
        let denial = zone.filter { record in
            proofs.contains(record.type) || RecordSignature(record).map { proofs.contains($0.typeCovered) } ?? false
        }
        let exists = zone.contains { $0.name.isSubdomain(of: name) && $0.type != .nsec3 }
        if !exists, let wildcard = try? name.parent?.prepending(label: [0x2A]) {
            let expanded = pick(zone.filter { $0.name == wildcard }, type).map { record in
                var record = record
                record.name = name
                return record
            }
            if !expanded.isEmpty { return SecurityReply(code: .noError, answers: expanded, authorities: denial) }
            if zone.contains(where: { $0.name == wildcard }) {
                return SecurityReply(code: .noError, answers: [], authorities: denial)
            }
        }
        return SecurityReply(code: exists ? .noError : .nameError, answers: [], authorities: denial)
    }

    private func pick(_ records: [ResourceRecord], _ type: RecordType) -> [ResourceRecord] {
        records.filter { record in
            record.type == type || RecordSignature(record)?.typeCovered == type
        }
    }

    /// Judges what the zones say to a question.
    func judge(
        _ name: String,
        _ type: RecordType,
        anchor: String = "signed.test",
        negative: Set<DomainName> = [],
        budget: ValidationBudget = ValidationBudget(),
        now: UInt32 = TestZones.now,
        code: ResponseCode? = nil,
        cache: KeyCache = KeyCache()
    ) async throws -> Security {
        let question = Question(name: try DomainName(name), type: type)
        let validator = Validator(
            anchors: try anchors(anchor, negative: negative),
            policy: ValidationPolicy(),
            cache: cache,
            budget: budget,
            now: now
        ) { self.reply($0, $1) }
        var reply = reply(question.name, type)
        if let code { reply.code = code }
        return await validator.judge(question, reply, isComplete: true).security
    }
}

extension Security {
    /// The extended error's code where it's bogus.
    var bogusCode: UInt16? {
        if case .bogus(let reason) = self { reason.code } else { nil }
    }
}
