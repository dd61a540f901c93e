import Cryptography
import DNS
import DNSSEC
import Daemon
import NIOConcurrencyHelpers
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

/// A zone that is signed as it's asked, and what validators make of its answers.
final class SigningZone {
    static let text = """
        $TTL 3600
        @ SOA ns root 7 3600 900 604800 300
          NS ns
          MX 10 mail
        ns A 192.0.2.1
        mail A 192.0.2.2
          AAAA 2001:db8::2
        MiXed TXT "case"
        alias CNAME mail
        chain CNAME alias
        dangling CNAME nowhere
        out CNAME www.example.net.
        many A 192.0.2.30
          A 192.0.2.4
          A 192.0.2.30
          TXT b a
        *.wild A 192.0.2.9
          TXT "wild"
        there.wild TXT "itself"
        *.walias CNAME mail
        *.wdangling CNAME nowhere
        *.wwild CNAME x.wild
        a.b.c A 192.0.2.3
        sub NS ns.sub
          NS ns.elsewhere.test.
        ns.sub A 192.0.2.4
        safe NS ns.safe
          DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000001
        ns.safe A 192.0.2.5
        old DNAME new
        x.new A 192.0.2.5
        away DNAME example.net.
        """

    let origin: DomainName
    let zone: Zone
    let keys: [ZoneSigningKey]
    let signed: SignedZone
    let signer: ZoneSigner
    let clock = NIOLockedValueBox<UInt32>(1_800_000_000)
    var settings = ResolverSettings()

    init(
        _ kind: KeyKind = .ecdsaP256,
        _ denial: LocalZoneConfiguration.Denial = .compact,
        roles: [(KeyRole, KeyState)] = [(.csk, .active)],
        keys: [ZoneSigningKey]? = nil,
        origin: String = "example.test",
        text: String = SigningZone.text,
        maximumSignatures: Int = 10_000
    ) throws {
        let origin = try DomainName(origin)
        self.origin = origin
        let records = try MasterFile.parse(Array(text.utf8), file: "zone", origin: origin) { _ in
            .failure(MasterFileIncludeError(reason: "none"))
        }
        zone = try Zone(origin: origin, file: "zone", records: records)
        self.keys =
            try keys
            ?? roles.map { role, state in
                let secret = try #require(PrivateKey.generate(kind))
                let key = SigningKey(
                    zone: origin,
                    key: secret,
                    isSecureEntryPoint: role.isSecureEntryPoint,
                    timeToLive: 600
                )
                return ZoneSigningKey(key: try #require(key), role: role, state: state)
            }
        signed = SignedZone(zone, ZoneSigning(keys: try #require(ZoneKeySet(self.keys)), denial: denial))
        settings.clock.wallClock = { [clock] in clock.withLockedValue { $0 } }
        settings.zones.maximumSignatures = maximumSignatures
        signer = ZoneSigner(settings.zones, cacheLimit: 1 << 20, clock: settings.clock, counters: ZoneCounters())
    }

    func ask(
        _ name: DomainName,
        _ type: RecordType,
        dnssecOK: Bool = true,
        compactOK: Bool = false,
        isDatagram: Bool = false
    ) throws -> LocalAnswer {
        let client = ZoneSigner.Client(dnssecOK: dnssecOK, compactOK: compactOK, isDatagram: isDatagram)
        return try signer.answer(Question(name: name, type: type), in: signed, for: client)
    }

    func ask(_ name: String, _ type: RecordType, compactOK: Bool = false) throws -> LocalAnswer {
        try ask(try DomainName(name), type, compactOK: compactOK)
    }

    /// What our validator says to an answer, with the zone's first key as its anchor.
    func judge(
        _ name: String,
        _ type: RecordType,
        _ answer: LocalAnswer,
        anchor: ResourceRecord? = nil
    ) async throws -> Security {
        let validator = Validator(
            anchors: TrustAnchors([try #require(anchor ?? keys.first?.key.record)]),
            policy: ValidationPolicy(),
            cache: KeyCache(),
            now: clock.withLockedValue { $0 }
        ) { name, type in
            guard let answer = try? self.ask(name, type) else { return nil }
            return SecurityReply(
                code: answer.code,
                answers: answer.answers,
                authorities: answer.authorities + answer.proofs
            )
        }
        let reply = SecurityReply(
            code: answer.code,
            answers: answer.answers,
            authorities: answer.authorities + answer.proofs
        )
        let question = Question(name: try DomainName(name), type: type)
        return await validator.judge(question, reply, isComplete: answer.next == nil).security
    }
}

extension SigningZone {
    /// A server that has the zone as others get it: with a chain of NSEC or NSEC3 records.
    ///
    /// - Parameter change: what it does to its answers.
    func server(
        _ change: @escaping @Sendable (DNSMessage, inout DNSMessage) -> Void = { _, _ in }
    ) throws -> FakeUpstream.Behaviour {
        let transfer = SignedTransfer(signed, now: clock.withLockedValue { $0 })
        var records: [ResourceRecord] = []
        while case let piece = try transfer.next(), !piece.isEmpty { records += piece }
        let zone = try Zone(origin: origin, records: Array(records.dropLast()))
        zone.prepare()
        return { query in
            let question = query.message.questions[0]
            guard question.name.isSubdomain(of: zone.origin), let local = PresignedZone(zone)?.answer(question) else {
                return .answer(query.message.response(.refused))
            }
            var answer = query.message.response(local.code)
            answer.flags.isAuthoritative = local.isAuthoritative
            answer.answers = local.answers
            answer.authorities = local.authorities + local.proofs
            answer.additionals = local.additionals
            change(query.message, &answer)
            return .answer(answer)
        }
    }

    /// Trusts the zone's first key.
    func trust(_ settings: inout ResolverSettings, negative: Set<DomainName> = []) {
        settings.recursion.trustAnchors = TrustAnchors(keys.prefix(1).map(\.key.record), negative: negative)
        settings.clock.wallClock = { [clock] in clock.withLockedValue { $0 } }
    }
}

extension LocalAnswer {
    /// The signatures over sets of a type.
    func signatures(over type: RecordType) -> [RecordSignature] {
        (answers + authorities + additionals + proofs).compactMap(RecordSignature.init).filter {
            $0.typeCovered == type
        }
    }
}
