import Cryptography
import DNS
import DNSFixtures
import DNSSEC
import Daemon
import NIOConcurrencyHelpers
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

private typealias Denial = LocalZoneConfiguration.Denial

/// A question to the zone of `SigningZone`.
struct SigningCase: CustomTestStringConvertible, Sendable {
    var name: String
    var type: RecordType
    /// How many records of data there are.
    var count: Int
    /// Whether the name isn't there.
    var isMissing = false
    var testDescription: String { "\(name) \(type)" }

    init(_ name: String, _ type: RecordType, _ count: Int, isMissing: Bool = false) {
        self.name = name.isEmpty ? "example.test" : "\(name).example.test"
        self.type = type
        self.count = count
        self.isMissing = isMissing
    }

    static let longLabel = String(repeating: "l", count: 63)
    /// Together with example.test. and another label of 63 octets at most 255 octets.
    static let longest = [longLabel, longLabel, String(repeating: "m", count: 48)].joined(separator: ".")

    static let all: [SigningCase] = [
        SigningCase("", .soa, 1), SigningCase("", .ns, 1), SigningCase("", .mx, 1), SigningCase("", .a, 0),

        SigningCase("", .dnskey, 1), SigningCase("", .cds, 1), SigningCase("", .cdnskey, 1),
        SigningCase("mail", .a, 1), SigningCase("mail", .aaaa, 1), SigningCase("mail", .txt, 0),
        SigningCase("MAIL", .mx, 0), SigningCase("mail", .ds, 0),
        SigningCase("mixed", .txt, 1), SigningCase("many", .a, 2), SigningCase("many", .txt, 1),
        SigningCase("alias", .a, 2), SigningCase("alias", .cname, 1), SigningCase("alias", .txt, 1),
        SigningCase("chain", .aaaa, 3),
        SigningCase("dangling", .a, 1, isMissing: true), SigningCase("out", .a, 1),
        SigningCase("x.wild", .a, 1), SigningCase("X.Y.wild", .txt, 1), SigningCase("x.wild", .aaaa, 0),
        SigningCase("*.wild", .a, 1),
        SigningCase("*.wild", .mx, 0), SigningCase("*.x.wild", .a, 1), SigningCase("wild", .a, 0),
        SigningCase("there.wild", .txt, 1), SigningCase("there.wild", .a, 0),
        SigningCase("x.there.wild", .a, 0, isMissing: true),
        SigningCase("x.walias", .a, 2), SigningCase("x.walias", .txt, 1),
        SigningCase("x.wdangling", .a, 1, isMissing: true),
        SigningCase("x.wwild", .a, 2), SigningCase("x.wwild", .mx, 1),
        SigningCase("c", .a, 0), SigningCase("b.c", .ns, 0), SigningCase("a.b.c", .a, 1),
        SigningCase("x.b.c", .a, 0, isMissing: true),
        SigningCase("sub", .ds, 0), SigningCase("safe", .ds, 1),
        SigningCase("old", .dname, 1), SigningCase("old", .a, 0), SigningCase("x.old", .a, 3),
        SigningCase("y.old", .a, 2, isMissing: true),
        SigningCase("new", .a, 0), SigningCase("x.away", .a, 2),
        SigningCase("nowhere", .a, 0, isMissing: true), SigningCase("a.nowhere", .mx, 0, isMissing: true),
        SigningCase("\\000", .a, 0, isMissing: true), SigningCase("\\255\\255", .a, 0, isMissing: true),
        SigningCase(longLabel, .a, 0, isMissing: true),
        SigningCase(String(longest.dropFirst()) + ".\(longLabel)", .a, 0, isMissing: true),
        SigningCase("\(longest).\(longLabel)", .a, 0, isMissing: true),
        SigningCase("nowhere", .ds, 0, isMissing: true),
    ]
}

@Suite struct ZoneSignerTests {
    @Test(arguments: SigningCase.all, [Denial.compact, .nsec3])
    func everyAnswerIsProved(expected: SigningCase, denial: LocalZoneConfiguration.Denial) async throws {
        for kind in [KeyKind.ecdsaP256, .ed25519] {
            let zone = try SigningZone(kind, denial)
            let answer = try zone.ask(expected.name, expected.type)
            #expect(answer.answers.filter { $0.type != .rrsig }.count == expected.count)
            #expect(answer.code == (expected.isMissing && denial == .nsec3 ? .nameError : .noError))
            #expect(try await zone.judge(expected.name, expected.type, answer) == .secure)
            // Without any one of its signatures, and of its proofs, it isn't.
            for index in answer.answers.indices where answer.answers[index].type == .rrsig {
                var lacking = answer
                lacking.answers.remove(at: index)
                #expect(try await zone.judge(expected.name, expected.type, lacking) != .secure, "\(index)")
            }
            guard expected.count == 0 else { continue }
            for index in answer.authorities.indices where [.nsec, .nsec3].contains(answer.authorities[index].type) {
                var lacking = answer
                lacking.authorities.remove(at: index)
                #expect(try await zone.judge(expected.name, expected.type, lacking) != .secure, "\(index)")
            }
        }
    }

    @Test(arguments: [Denial.compact, .nsec3])
    func withoutDOAnswersAreWithoutSignatures(denial: LocalZoneConfiguration.Denial) throws {
        let zone = try SigningZone(.ed25519, denial)
        for (name, type) in [("mail", RecordType.a), ("nowhere", .a), ("x.wild", .a), ("sub", .a)] {
            let question = Question(name: try DomainName("\(name).example.test"), type: type)
            #expect(try zone.ask(question.name, type, dnssecOK: false) == zone.zone.answer(question))
        }
        let keys = try zone.ask(zone.origin, .dnskey, dnssecOK: false)
        #expect(keys.answers == zone.keys.map(\.key.record))
    }

    @Test func anotherKeyProvesNothing() async throws {
        let zone = try SigningZone()
        let other = try SigningZone()
        let anchor = other.keys.first?.key.record
        let answer = try zone.ask("mail.example.test", .a)
        guard case .bogus = try await zone.judge("mail.example.test", .a, answer, anchor: anchor) else {
            Issue.record("believed")
            return
        }
    }

    @Test(arguments: [Denial.compact, .nsec3])
    func aDenialIsAboutOneNameOnly(denial: LocalZoneConfiguration.Denial) async throws {
        let zone = try SigningZone(.ed25519, denial)
        let answer = try zone.ask("nowhere.example.test", .a)
        for (name, type) in [
            ("mail.example.test", RecordType.mx), ("elsewhere.example.test", .a), ("mail.example.test", .a),
            ("sub.example.test", .ds), ("a.nowhere.example.test", .a), ("x.wild.example.test", .a),
        ] where denial == .compact || name != "a.nowhere.example.test" {
            #expect(try await zone.judge(name, type, answer) != .secure, "\(name) \(type)")
        }
    }

    // MARK: Referrals

    @Test(arguments: [Denial.compact, .nsec3])
    func referralsSayWhetherTheZoneBelowIsSigned(denial: LocalZoneConfiguration.Denial) async throws {
        let zone = try SigningZone(.ecdsaP256, denial)
        let insecure = try zone.ask("www.sub.example.test", .a)
        #expect(!insecure.isAuthoritative && insecure.answers.isEmpty)
        #expect(insecure.authorities.filter { $0.type == .ns }.count == 2)
        #expect(insecure.signatures(over: .ns).isEmpty)
        #expect(insecure.authorities.contains { $0.type == (denial == .compact ? .nsec : .nsec3) })
        let glue = try #require(insecure.additionals.first)
        #expect(insecure.additionals.count == 1 && glue.type == .a)
        var plain = LocalAnswer()
        plain.answers = [try record("www.sub.example.test. 60 A 192.0.2.77")]
        #expect(try await zone.judge("www.sub.example.test", .a, plain) == .insecure(nil))

        let secure = try zone.ask("www.safe.example.test", .a)
        #expect(secure.authorities.map(\.type) == [.ns, .ds, .rrsig])
        plain.answers = [try record("www.safe.example.test. 60 A 192.0.2.77")]
        guard case .bogus = try await zone.judge("www.safe.example.test", .a, plain) else {
            Issue.record("a delegation with DS records isn't insecure")
            return
        }
    }

    // MARK: How it looks

    @Test func denialsLookAsTheirRFCsHaveThem() throws {
        let compact = try SigningZone(.ed25519, .compact)
        func proof(_ name: String, _ type: RecordType) throws -> String? {
            try compact.ask(name, type).authorities.first { $0.type == .nsec }?.presentationData
        }
        #expect(try proof("No.example.test", .a) == "\\000.no.example.test. RRSIG NSEC NXNAME")
        #expect(try proof("c.example.test", .a) == "\\000.c.example.test. RRSIG NSEC")
        #expect(try proof("x.wild.example.test", .mx) == "\\000.x.wild.example.test. A TXT RRSIG NSEC")
        #expect(try proof("www.sub.example.test", .mx) == "\\000.sub.example.test. NS RRSIG NSEC")
        #expect(
            try proof("example.test", .a)
                == "\\000.example.test. NS SOA MX RRSIG NSEC DNSKEY CDS CDNSKEY"
        )
        let hashed = try SigningZone(.ed25519, .nsec3)
        let count = { try hashed.ask($0, .mx).authorities.filter { $0.type == .nsec3 }.count }
        #expect(try count("no.example.test") == 3 && count("c.example.test") == 1 && count("x.wild.example.test") == 3)
        #expect(try hashed.ask("x.wild.example.test", .a).proofs.map(\.type) == [.nsec3, .rrsig])
        let apex = try hashed.ask("example.test", .a).authorities.compactMap(NextSecure3.init).first
        #expect(apex?.types.contains(.nsec3param) ?? false)
        let parameters = try hashed.ask("example.test", .nsec3param)
        #expect(parameters.answers.first?.presentationData == "1 0 0 -")
        #expect(try compact.ask("example.test", .nsec3param).answers.isEmpty)
    }

    @Test func wildcardsAreSignedAsTheirDenialNeedsIt() throws {
        let labels = { (denial: LocalZoneConfiguration.Denial) in
            try SigningZone(.ed25519, denial).ask("x.y.wild.example.test", .a).signatures(over: .a).map(\.labels)
        }
        #expect(try labels(.compact) == [5] && labels(.nsec3) == [3])
    }

    @Test func theNegativeTimeToLiveCountsForAll() throws {
        for denial in [Denial.compact, .nsec3] {
            let answer = try SigningZone(.ed25519, denial).ask("nowhere.example.test", .a)
            #expect(answer.authorities.allSatisfy { $0.timeToLive == 300 })
            #expect(answer.signatures(over: .soa).map(\.originalTimeToLive) == [3600])
        }
    }

    @Test func nameErrorsComeToThoseWhoKnowWhatTheyGoWith() async throws {
        let zone = try SigningZone(.ed25519, .compact)
        let answer = try zone.ask("nowhere.example.test", .a, compactOK: true)
        #expect(answer.code == .nameError && answer.isCompact)
        #expect(try await zone.judge("nowhere.example.test", .a, answer) == .secure)
        #expect(try zone.ask("mail.example.test", .a, compactOK: true).isCompact)
        #expect(try zone.ask("nowhere.example.test", .a).code == .noError)
        #expect(try !SigningZone(.ed25519, .nsec3).ask("nowhere.example.test", .a, compactOK: true).isCompact)
    }

    @Test func proofsAndSignaturesCanBeAskedFor() async throws {
        let zone = try SigningZone(.ed25519, .compact)
        for name in ["mail.example.test", "nowhere.example.test", "x.wild.example.test", "c.example.test"] {
            let answer = try zone.ask(name, .nsec)
            #expect(answer.answers.map(\.type) == [.nsec, .rrsig], "\(name)")
            #expect(try await zone.judge(name, .nsec, answer) == .secure)
            let signatures = try zone.ask(name, .rrsig)
            #expect(!signatures.answers.isEmpty && signatures.answers.allSatisfy { $0.type == .rrsig })
            #expect(signatures.answers.allSatisfy { $0.name.description == "\(name)." })
        }
        #expect(try zone.ask("www.sub.example.test", .rrsig).authorities.first?.type == .ns)
        let hashed = try SigningZone(.ed25519, .nsec3)
        #expect(try hashed.ask("mail.example.test", .rrsig).answers.count == 2)
        #expect(try hashed.ask("mail.example.test", .nsec).answers.isEmpty)
        // Nobody signs signatures; that a name has none is proven as for any other type.
        let signatures = try hashed.ask("mail.example.test", .rrsig)
        #expect(try await hashed.judge("mail.example.test", .rrsig, signatures) != .secure)
        #expect(try await hashed.judge("c.example.test", .rrsig, hashed.ask("c.example.test", .rrsig)) == .secure)
    }

    // MARK: Keys

    @Test func rolesAndStatesDecideWhoSigns() async throws {
        let zone = try SigningZone(
            .ed25519,
            roles: [(.ksk, .active), (.zsk, .active), (.zsk, .published), (.zsk, .retired)]
        )
        let tags = zone.keys.map(\.key.publicKey.keyTag)
        let keys = try zone.ask("example.test", .dnskey)
        #expect(keys.answers.filter { $0.type == .dnskey }.count == 4)
        #expect(keys.signatures(over: .dnskey).map(\.keyTag) == [tags[0]])
        #expect(try zone.ask("mail.example.test", .a).signatures(over: .a).map(\.keyTag) == [tags[1]])
        #expect(try zone.ask("example.test", .cds).signatures(over: .cds).map(\.keyTag) == [tags[0]])
        let answer = try zone.ask("nowhere.example.test", .a)
        #expect(try await zone.judge("nowhere.example.test", .a, answer) == .secure)
    }

    @Test func twoActiveKeysBothCountAsAnchor() async throws {
        let zone = try SigningZone(.ecdsaP256, roles: [(.csk, .active), (.csk, .active)])
        let answer = try zone.ask("mail.example.test", .a)
        #expect(answer.signatures(over: .a).count == 2)
        for key in zone.keys {
            #expect(try await zone.judge("mail.example.test", .a, answer, anchor: key.key.record) == .secure)
        }
    }

    @Test func theFilesOwnKeysArePublishedAndSigned() async throws {
        let other = try SigningZone(.ed25519)
        let foreign = try #require(other.keys.first?.key.record)
        let line = "@ 60 DNSKEY \(foreign.presentationData)\n@ CDS 0 0 0 00\n"
        let zone = try SigningZone(.ed25519, text: SigningZone.text + "\n" + line)
        let answer = try zone.ask("example.test", .dnskey)
        let keys = answer.answers.filter { $0.type == .dnskey }
        #expect(keys.count == 2 && keys.allSatisfy { $0.timeToLive == 60 })
        #expect(try await zone.judge("example.test", .dnskey, answer) == .secure)
        #expect(try zone.ask("example.test", .cds).answers.first?.presentationData == "0 0 0 00")
        #expect(try zone.ask("example.test", .cdnskey).answers.isEmpty)
    }

    // MARK: Cost

    @Test func signaturesAreKeptUntilAQuarterIsLeft() throws {
        let zone = try SigningZone(.ecdsaP256)
        let made = { try zone.ask("MAIL.example.test", .a).signatures(over: .a) }
        let first = try made()
        #expect(try made() == first)
        zone.clock.withLockedValue { $0 += 4 * 86_400 }
        #expect(try made() == first)
        zone.clock.withLockedValue { $0 += 2 * 86_400 }
        let second = try made()
        #expect(second != first)
        let now = zone.clock.withLockedValue { $0 }
        for signature in second {
            #expect(signature.inception == now - 3600)
            #expect((6 * 86_400...7 * 86_400).contains(signature.expiration - now))
        }
        // Back to before it was made.
        zone.clock.withLockedValue { $0 -= 86_400 }
        #expect(try made() != second)
    }

    @Test func whatIsMissingIsNotKept() throws {
        for denial in [Denial.compact, .nsec3] {
            let zone = try SigningZone(.ecdsaP256, denial)
            let first = try zone.ask("nowhere.example.test", .a)
            let second = try zone.ask("nowhere.example.test", .a)
            let differing = zip(first.authorities, second.authorities).filter { $0 != $1 }
            #expect(differing.count == 1, "\(denial)")
        }
    }

    @Test func aChangedSetIsSignedAnew() async throws {
        let zone = try SigningZone(.ed25519)
        let before = try zone.ask("mail.example.test", .a).signatures(over: .a)
        let text = SigningZone.text.replacing("192.0.2.2\n", with: "192.0.2.22\n")
        let records = try MasterFile.parse(Array(text.utf8), file: "zone", origin: zone.origin) { _ in
            .failure(MasterFileIncludeError(reason: "none"))
        }
        let changed = SignedZone(
            try Zone(origin: zone.origin, file: "zone", records: records),
            zone.signed.signing
        )
        let question = Question(name: try DomainName("mail.example.test"), type: .a)
        let client = ZoneSigner.Client(dnssecOK: true, compactOK: false, isDatagram: true)
        let answer = try zone.signer.answer(question, in: changed, for: client)
        #expect(answer.answers.first?.presentationData == "192.0.2.22")
        #expect(answer.signatures(over: .a) != before)
        #expect(try await zone.judge("mail.example.test", .a, answer) == .secure)
    }

    @Test func moreSignaturesThanAllowedAreNotMade() throws {
        let zone = try SigningZone(.ed25519, maximumSignatures: 8)
        func ask(_ number: Int, isDatagram: Bool) throws {
            _ = try zone.ask(try DomainName("no\(number).example.test"), .a, isDatagram: isDatagram)
        }
        // The SOA record's, and one for each name.
        for number in 0..<5 { try ask(number, isDatagram: true) }
        #expect(throws: ZoneSigner.Exhausted.self) { try ask(5, isDatagram: true) }
        for number in 5..<7 { try ask(number, isDatagram: false) }
        #expect(throws: ZoneSigner.Exhausted.self) { try ask(7, isDatagram: false) }
        // What is kept costs nothing.
        #expect(throws: Never.self) { try zone.ask("example.test", .soa) }
    }
}
