import DNS
import DNSFixtures
import Daemon
import NIOCore
import TSIG
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

#if canImport(Glibc)
import Glibc
#endif

private let text = "$TTL 300\n@ SOA ns root 7 3600 900 604800 300\n NS ns\nns A 192.0.2.1\n"

struct UpdateServerTests {
    private let key: TSIGKey

    init() throws {
        key = TSIGKey(name: try DomainName("k"), algorithm: .hmacSHA256, secret: [UInt8](1...32))
    }

    private func configure() throws -> (inout ResolverSettings) -> Void {
        let origin = try DomainName("dyn.test")
        var zone = LocalZoneConfiguration(origin: origin, file: "dns/dyn.test")
        zone.update = [try UpdateRule("key k zone")]
        var plain = LocalZoneConfiguration(origin: try DomainName("plain.test"), file: "plain.test")
        plain.allowQuery = nil
        return { [zone, plain] settings in
            settings.zones.zones = [zone.origin: zone, plain.origin: plain]
        }
    }

    private func send(
        _ resolver: TestResolver,
        _ message: DNSMessage,
        key: TSIGKey? = nil,
        skew: UInt64 = 0
    ) async throws -> DNSMessage {
        var signer = TSIGSigner(requestWith: key ?? self.key)
        let now = Clocks().secondsSince1970()
        let request = signer.sign(message.encode(), now: now + skew)
        return try DNSMessage(decoding: try #require(try await resolver.exchange(request)))
    }

    private func error(_ answer: DNSMessage) -> UInt16? {
        answer.additionals.last.flatMap { TSIGRecord($0) }?.error
    }

    /// The administrator's records need no rule, but a zone that takes updates.
    @Test func whatIsPublishedIsServed() async throws {
        try await TestResolver.with(keys: [key], zones: ["dyn.test": text, "plain.test": text], configure: configure())
        {
            resolver,
            _ in
            let updates = resolver.server.authority.updates
            let name = try DomainName("s1._domainkey.dyn.test")
            let long = [UInt8](repeating: 0x61, count: 600)
            for (text, strings) in [(Array("one".utf8), ["one"]), (long, nil), (nil, [])] as [([UInt8]?, [String]?)] {
                guard case .done(let zone) = await updates.publish(text, at: name, timeToLive: 60) else {
                    Issue.record("not published")
                    continue
                }
                #expect(zone == (try DomainName("dyn.test")))
                let answer = try await resolver.ask("s1._domainkey.dyn.test", .txt)
                let data = answer.answers.map { Array($0.data) }
                #expect(data.first?.count == text.map { $0.count + ($0.count + 254) / 255 })
                if let strings { #expect(data.map { String(decoding: $0.dropFirst(), as: UTF8.self) } == strings) }
            }
            guard case .notHere = await updates.publish(long, at: try DomainName("a.plain.test"), timeToLive: 60),
                case .elsewhere = await updates.publish(long, at: try DomainName("a.test"), timeToLive: 60)
            else {
                Issue.record("published where it can't be")
                return
            }
        }
    }

    @Test func whatWasAcknowledgedIsSeenAtOnce() async throws {
        try await TestResolver.with(keys: [key], zones: ["dyn.test": text, "plain.test": text], configure: configure())
        {
            resolver,
            _ in
            for step in 1...20 {
                let lines = ["a ANY A", "a 60 IN A 192.0.2.\(step)"]
                let answer = try await send(resolver, updateMessage("dyn.test", updates: lines))
                #expect(answer.responseCode == .noError)
                #expect(answer.flags.opcode == .update)
                for _ in 0..<3 {
                    #expect(try await resolver.ask("a.dyn.test").answerLines == ["a.dyn.test. A 192.0.2.\(step)"])
                }
            }
            let start = try #require(try await resolver.ask("dyn.test", .soa).answers.first)
            #expect(StartOfAuthority(start)?.serial == 27)
            // Nothing changes, nor does the serial.
            let same = try await send(resolver, updateMessage("dyn.test", updates: ["a 60 IN A 192.0.2.20"]))
            #expect(same.responseCode == .noError)
            #expect(try await resolver.ask("dyn.test", .soa).answers == [start])
            #expect(await resolver.server.authority.updates.write(try DomainName("dyn.test")) == [])
            #expect(await resolver.server.authority.updates.write(try DomainName("plain.test")) == nil)
            let file = WholeFile.read("\(resolver.directory)/dyn.test", maximum: 4096)
            #expect(file?.contains("a.dyn.test.\t60\tIN\tA\t192.0.2.20\n") == true)
            unlinkJournal(resolver)
        }
    }

    @Test func whoMayNot() async throws {
        try await TestResolver.with(keys: [key], zones: ["dyn.test": text, "plain.test": text], configure: configure())
        {
            resolver,
            _ in
            let update = try updateMessage("dyn.test", updates: ["a 60 IN A 192.0.2.2"])
            #expect(try await resolver.ask(update).responseCode == .refused)
            let other = TSIGKey(name: key.name, algorithm: .hmacSHA256, secret: [UInt8](repeating: 1, count: 32))
            let wrong = try await send(resolver, update, key: other)
            #expect(wrong.responseCode == .notAuthoritative && error(wrong) == 16)
            let strange = TSIGKey(name: try DomainName("x"), algorithm: .hmacSHA256, secret: [UInt8](1...32))
            let unknown = try await send(resolver, update, key: strange)
            #expect(unknown.responseCode == .notAuthoritative && error(unknown) == 17)
            let late = try await send(resolver, update, skew: 1000)
            #expect(late.responseCode == .notAuthoritative && error(late) == 18)
            #expect(try await send(resolver, updateMessage("plain.test")).responseCode == .refused)
            #expect(try await send(resolver, updateMessage("nowhere.test")).responseCode == .notAuthoritative)
            #expect(try await send(resolver, updateMessage("sub.dyn.test")).responseCode == .notAuthoritative)
            #expect(try await resolver.ask("a.dyn.test").responseCode == .nameError)
            unlinkJournal(resolver)
        }
    }

    /// Many at once: each is made, and all of them have serials of their own.
    @Test func manyAtOnce() async throws {
        try await TestResolver.with(keys: [key], zones: ["dyn.test": text, "plain.test": text], configure: configure())
        {
            resolver,
            _ in
            try await withThrowingTaskGroup(of: ResponseCode.self) { group in
                for step in 0..<100 {
                    let message = try updateMessage("dyn.test", updates: ["n\(step) 60 IN A 192.0.2.1"])
                    group.addTask { try await send(resolver, message).responseCode }
                }
                for try await code in group { #expect(code == .noError) }
            }
            let start = try #require(try await resolver.ask("dyn.test", .soa).answers.first)
            #expect(StartOfAuthority(start)?.serial == 107)
            #expect(try await resolver.ask("n99.dyn.test").answers.count == 1)
            unlinkJournal(resolver)
        }
    }

    /// An update changes what is said of our zones; what others said is still known.
    @Test func otherAnswersStay() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            .answer(query.message.answered(answers: ["www.example.com. 300 IN A 192.0.2.99"]))
        }
        try await TestResolver.with(
            keys: [key],
            zones: ["dyn.test": text, "plain.test": text],
            upstreams: [behaviour],
            configure: configure()
        ) { resolver, upstreams in
            for step in 1...3 {
                #expect(try await resolver.ask("www.example.com").answerLines == ["www.example.com. A 192.0.2.99"])
                let update = try updateMessage("dyn.test", updates: ["a 60 IN A 192.0.2.\(step)"])
                #expect(try await send(resolver, update).responseCode == .noError)
            }
            #expect(try await resolver.ask("a.dyn.test").answers.count == 3)
            #expect(upstreams[0].queries.count == 1)
            unlinkJournal(resolver)
        }
    }

    private func unlinkJournal(_ resolver: TestResolver) {
        for name in ["dyn.test.journal", "plain.test.journal"] { unlink("\(resolver.directory)/\(name)") }
    }
}
