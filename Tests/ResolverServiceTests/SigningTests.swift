import Cryptography
import DNS
import DNSFixtures
import DNSSEC
import Daemon
import Network
import Testing
import ZoneKeys

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

#if canImport(Glibc)
import Glibc
#endif

/// Signing by a resolver on loopback: keys that come, go and change, and what clients see of it.
@Suite struct SigningTests {
    private static let name = "example.test"

    /// A resolver with the zone of `SigningZone`, which has no keys yet, and the directory for them.
    private func with(
        denial: LocalZoneConfiguration.Denial = .compact,
        zones: [String: String] = [name: SigningZone.text],
        configure: (inout ResolverSettings) -> Void = { _ in },
        _ body: (TestResolver, KeyDirectory) async throws -> Void
    ) async throws {
        let zone = try DomainName(Self.name)
        try await TestResolver.with(zones: zones) { settings in
            var configuration = LocalZoneConfiguration(origin: zone, file: "zones/\(Self.name)")
            configuration.sign = .ed25519
            configuration.denial = denial
            settings.zones.zones[zone] = configuration
            configure(&settings)
        } _: { resolver, _ in
            let directory = try TestKeyDirectory(of: resolver, zone: zone, base: Self.name)
            defer { directory.remove() }
            try await body(resolver, directory.keys)
        }
    }

    private func make(_ role: KeyRole = .csk, in keys: KeyDirectory) throws -> StoredKey {
        let secret = try #require(PrivateKey.generate(.ed25519))
        let key = SigningKey(
            zone: try DomainName(Self.name),
            key: secret,
            isSecureEntryPoint: role.isSecureEntryPoint,
            timeToLive: 300
        )
        let signing = ZoneSigningKey(key: try #require(key), role: role, state: .active)
        let stored = StoredKey(signing, base: Self.name, since: 1)
        try keys.add(stored, pem: secret.pem)
        return stored
    }

    private func signers(_ answer: DNSMessage) -> [UInt16] {
        answer.answers.compactMap { RecordSignature($0)?.keyTag }.sorted()
    }

    @Test func keysComeChangeAndGoWhileTheZoneIsServed() async throws {
        try await with { resolver, keys in
            let unsigned = try await resolver.ask("mail.example.test", dnssecOK: true)
            #expect(unsigned.answers.count == 1 && unsigned.flags.isAuthoritative)
            var first = try make(in: keys)
            await resolver.server.reload(onlyChanged: true)
            let tag = first.key.key.publicKey.keyTag
            var answer = try await resolver.ask("mail.example.test", dnssecOK: true)
            #expect(signers(answer) == [tag])
            #expect(answer.flags.isAuthoritative && !answer.flags.isAuthenticData)
            #expect(try await resolver.ask("mail.example.test").answers.count == 1)
            #expect(try await resolver.ask("example.test", .dnskey).answers == [first.key.key.record])

            let second = try make(in: keys)
            await resolver.server.reload()
            let other = second.key.key.publicKey.keyTag
            answer = try await resolver.ask("mail.example.test", dnssecOK: true)
            #expect(signers(answer) == [tag, other].sorted())
            first.key.state = .retired
            try keys.update(first)
            await resolver.server.reload()
            answer = try await resolver.ask("mail.example.test", dnssecOK: true)
            #expect(signers(answer) == [other])
            #expect(try await resolver.ask("example.test", .dnskey).answers.count == 2)

            // A zone that was signed goes on with the keys it had.
            try keys.remove(first)
            try keys.remove(second)
            await resolver.server.reload()
            answer = try await resolver.ask("mail.example.test", dnssecOK: true)
            #expect(signers(answer) == [other])
        }
    }

    @Test func aNewVersionOfTheZoneIsSigned() async throws {
        try await with { resolver, keys in
            _ = try make(in: keys)
            await resolver.server.reload()
            #expect(try await resolver.ask("new.example.test", .a, dnssecOK: true).answers.isEmpty)
            let text = SigningZone.text + "\nnew A 192.0.2.99"
            try TestFile.write(text, to: "\(resolver.directory)/\(Self.name)")
            await resolver.server.reload()
            let answer = try await resolver.ask("new.example.test", .a, dnssecOK: true)
            #expect(answer.answers.map(\.type) == [.a, .rrsig])
        }
    }

    @Test func readyAnswersDifferByWhatTheClientKnows() async throws {
        try await with { resolver, keys in
            _ = try make(in: keys)
            await resolver.server.reload()
            let question = Question(name: try DomainName("nowhere.example.test"), type: .a)
            for round in 0..<2 {
                let plain = try await resolver.ask("nowhere.example.test")
                #expect(plain.responseCode == .nameError && plain.authorities.count == 1, "\(round)")
                let signed = try await resolver.ask("nowhere.example.test", dnssecOK: true)
                #expect(signed.responseCode == .noError && signed.authorities.count == 4)
                #expect(signed.edns?.dnssecOK ?? false)
                #expect(!(signed.edns?.compactOK ?? true))
                var query = DNSMessage.query(id: UInt16(round), question: question, dnssecOK: true)
                query.edns?.compactOK = true
                let compact = try await resolver.ask(query)
                #expect(compact.responseCode == .nameError && compact.edns?.compactOK ?? false)
                #expect(compact.authorities.count == 4)
            }
        }
    }

    @Test func timesToLiveOfReadyAnswersStay() async throws {
        try await with { resolver, keys in
            _ = try make(in: keys)
            await resolver.server.reload()
            // Each event loop makes signatures of its own.
            func timesToLive() async throws -> [String] {
                let answers = try await resolver.ask("mail.example.test", dnssecOK: true).answers
                return answers.map { "\($0.type) \($0.timeToLive)" }
            }
            let first = try await timesToLive()
            #expect(first.contains { $0.hasPrefix("RRSIG") })
            resolver.clock.advance(1800)
            for _ in 0..<8 { #expect(try await timesToLive() == first) }
        }
    }

    @Test func aReadyAnswerEndsLongBeforeItsSignatures() async throws {
        let wall = TestClock()
        try await with { settings in
            settings.clock.wallClock = { UInt32(truncatingIfNeeded: wall.now) }
        } _: { resolver, keys in
            wall.advance(1_800_000_000)
            _ = try make(in: keys)
            await resolver.server.reload()
            var last = try await resolver.ask("mail.example.test", dnssecOK: true)
            // Eight days, an hour at a time.
            for hour in 1...(8 * 24) {
                resolver.clock.advance(3600)
                wall.advance(3600)
                last = try await resolver.ask("mail.example.test", dnssecOK: true)
                let signature = try #require(last.answers.compactMap(RecordSignature.init).first)
                let left = Int64(signature.expiration) - wall.now
                #expect(left > 86_400, "after \(hour) hours")
                #expect(Int64(signature.inception) <= wall.now)
            }
        }
    }

    @Test func theTypeNXNAMEIsNoQuestion() async throws {
        try await with { resolver, _ in
            let answer = try await resolver.ask("example.test", .nxname)
            #expect(answer.responseCode == .formatError)
            #expect(answer.edns?.options.compactMap { ExtendedError($0)?.code } == [30])
        }
    }

    @Test func tooManySignaturesSendClientsToStreams() async throws {
        try await with { settings in
            settings.zones.maximumSignatures = 4
        } _: { resolver, keys in
            _ = try make(in: keys)
            await resolver.server.reload()
            var truncated: DNSMessage?
            // Two event loops, each with its own limit; the clock stands still.
            for number in 0..<12 {
                let answer = try await resolver.ask("no\(number).example.test", dnssecOK: true)
                if answer.flags.isTruncated { truncated = answer }
            }
            let answer = try #require(truncated)
            #expect(answer.answers.isEmpty && answer.authorities.isEmpty && answer.responseCode == .noError)
            var question = Question(name: try DomainName("x.example.test"), type: .a)
            var codes: Set<ResponseCode> = []
            for number in 0..<12 {
                question.name = try DomainName("more\(number).example.test")
                let query = DNSMessage.query(id: 1, question: question, dnssecOK: true).encode()
                let octets = [UInt8(query.count >> 8), UInt8(query.count & 0xFF)] + query
                codes.insert(try #require(try await resolver.stream(octets, answers: 1).first).responseCode)
            }
            #expect(codes.contains(.serverFailure))
            // In the next second, it goes on.
            resolver.clock.advance(6)
            let later = try await resolver.ask("later.example.test", dnssecOK: true)
            #expect(!later.authorities.isEmpty)
        }
    }

    @Test(arguments: ["x NSEC example.test. A", "@ ZONEMD 7 1 1 \(String(repeating: "00", count: 48))"])
    func signaturesInTheFileAreRefused(_ line: String) async throws {
        try await with(zones: [Self.name: SigningZone.text + "\n" + line]) { resolver, _ in
            let answer = try await resolver.ask("mail.example.test")
            #expect(answer.responseCode == .serverFailure)
        }
        let zone = try DomainName(Self.name)
        try await TestResolver.with(zones: [Self.name: SigningZone.text + "\n" + line]) { resolver, _ in
            let answer = try await resolver.ask("mail.example.test")
            #expect(answer.responseCode == .noError)
            #expect(resolver.server.localZones.first { $0.name == zone }?.kind == "local")
        }
    }

    @Test func theZoneAboveHasTheDSRecords() async throws {
        let parent = "$TTL 60\n@ SOA a b 1 1 1 1 1\n@ NS a\nexample NS ns.example\nexample DS 1 8 2 00\n"
        let child = "example.up"
        let zones = ["up": parent, child: SigningZone.text, "lone.test": SigningZone.text]
        try await TestResolver.with(zones: zones) { resolver, _ in
            let answer = try await resolver.ask(child, .ds)
            #expect(answer.answers.map(\.type) == [.ds] && answer.flags.isAuthoritative)
            // The built-in zone above doesn't know of it.
            let lone = try await resolver.ask("lone.test", .ds)
            #expect(lone.responseCode == .noError && lone.authorities.first?.name.description == "lone.test.")
        }
    }
}
