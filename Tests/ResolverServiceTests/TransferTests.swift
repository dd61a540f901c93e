import DNS
import DNSFixtures
import Daemon
import NIOCore
import Network
import TSIG
import Testing
import ZoneTransfer

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

private func text(_ serial: Int, _ lines: String...) -> String {
    (["$TTL 300", "@ SOA ns root \(serial) 3600 900 86400 300", " NS ns", "ns A 192.0.2.1"] + lines + [""])
        .joined(separator: "\n")
}

private let hosts = (0..<2000).map { "h\($0) TXT \"\(String(repeating: "x", count: 60))\"" }.joined(separator: "\n")

struct TransferTests {
    private let key: TSIGKey
    private let origin: DomainName

    init() throws {
        key = TSIGKey(name: try DomainName("xfer"), algorithm: .hmacSHA256, secret: [UInt8](1...32))
        origin = try DomainName("out.test")
    }

    private func primary(_ change: (inout ResolverSettings) -> Void = { _ in }) -> (inout ResolverSettings) -> Void {
        var zone = LocalZoneConfiguration(origin: origin, file: "out.test")
        zone.allowTransfer.keys = [key.name]
        return { [zone] settings in
            settings.zones.zones[zone.origin] = zone
        }
    }

    /// All messages that answer a signed request, up to the end of the transfer.
    private func transfer(_ request: TransferRequest, _ resolver: TestResolver) async throws -> (TransferOutcome?, Int)
    {
        var signer = TSIGSigner(requestWith: key)
        let octets = signer.sign(
            request.query(id: 5, zone: origin).encode(),
            now: Clocks().secondsSince1970()
        )
        var reader = TransferReader(zone: origin, request: request, id: 5)
        var verifier = TSIGVerifier(key: key, requestCode: signer.lastCode)
        let replies = try await resolver.rawStream(framed(octets)) { replies in
            guard let last = replies.last, let message = try? DNSMessage(decoding: last) else { return false }
            return message.responseCode != .noError || replies.count > 1 && message.answers.last?.type == .soa
                || message.answers.count == 1
        }
        for reply in replies {
            let message = try DNSMessage(
                decoding: try verifier.verify(reply, now: Clocks().secondsSince1970())
            )
            #expect(verifier.isComplete, "every message has a signature")
            try reader.read(message)
        }
        return (reader.outcome, replies.count)
    }

    @Test func signedTransfer() async throws {
        try await TestResolver.with(keys: [key], zones: ["out.test": text(3, hosts)], configure: primary()) {
            resolver,
            _ in
            let (outcome, messages) = try await transfer(.full, resolver)
            guard case .zone(let records) = outcome else {
                Issue.record("no zone")
                return
            }
            #expect(records.count == 2003)
            #expect(messages > 5)
            let start = try #require(records.first)
            #expect(try await transfer(.incremental(since: start), resolver).0 == .current(start))
        }
    }

    @Test func whoMayNot() async throws {
        try await TestResolver.with(keys: [key], zones: ["out.test": text(3)], configure: primary()) { resolver, _ in
            for (name, code) in [("out.test", ResponseCode.refused), ("x.test", .notAuthoritative)] {
                let query = TransferRequest.full.query(id: 1, zone: try DomainName(name)).encode()
                #expect(try await resolver.stream(framed(query), answers: 1).first?.responseCode == code)
            }
        }
    }

    @Test func onlySoManyAtATime() async throws {
        let configure = primary()
        try await TestResolver.with(keys: [key], zones: ["out.test": text(3)]) { settings in
            configure(&settings)
            settings.zones.maximumTransfers = 0
        } _: { resolver, _ in
            await #expect(throws: TransferError.refused(.serverFailure)) { try await transfer(.full, resolver) }
        }
        let places = TransferPlaces(2)
        var taken = [places.take(), places.take()]
        #expect(places.take() == nil)
        taken.removeLast()
        #expect(places.take() != nil)
        #expect(taken.count == 1)
    }

    @Test func aSecondaryZone() async throws {
        try await TestResolver.with(keys: [key], zones: ["out.test": text(3, hosts)], configure: primary()) {
            primary,
            _ in
            var zone = LocalZoneConfiguration(origin: origin, file: "dns/out.test")
            let address = try SocketAddress(ipAddress: "127.0.0.1", port: primary.streamPort)
            zone.primaries = [.init(address: address, key: key.name)]
            // The copy is an old version.
            try await TestResolver.with(keys: [key], zones: ["out.test": text(2)]) { [zone] settings in
                settings.zones.zones[zone.origin] = zone
            } _: { secondary, _ in
                func serial() async throws -> UInt32? {
                    try await secondary.ask("out.test", .soa).answers.first.flatMap { StartOfAuthority($0)?.serial }
                }
                #expect(try await secondary.server.authority.transfer(origin)?.get() == 3)
                #expect(try await serial() == 3)
                #expect(try await secondary.ask("h77.out.test", .txt).answers.count == 1)

                try TestFile.write(text(4, "new A 192.0.2.4"), to: primary.directory + "/out.test")
                await primary.server.reload()
                // By the zone's clock a look may follow the last one only after a second.
                secondary.clock.advance(2)
                let start = try record("out.test. 300 IN SOA ns.out.test. root.out.test. 4 1 1 1 1")
                let answer = try await secondary.ask(Notification.message(id: 1, start: start))
                #expect(answer.responseCode == .noError)
                while try await serial() != 4 { await primary.server.shards[0].loop.pause(.milliseconds(20)) }
                #expect(try await secondary.ask("new.out.test").answers.count == 1)
                #expect(try await secondary.ask("h77.out.test", .txt).responseCode == .nameError)

                // The primary goes back to an older version: ours stays, until it's too old.
                try TestFile.write(text(1), to: primary.directory + "/out.test")
                await primary.server.reload()
                await #expect(throws: CheckFailure.self) {
                    try await secondary.server.authority.transfer(origin)?.get()
                }
                #expect(try await serial() == 4)
                secondary.clock.advance(86401)
                #expect(try await secondary.server.authority.transfer(origin)?.get() == 1)
                #expect(try await serial() == 1)
            }
        }
    }

    /// A primary for which a key is named isn't asked without it.
    @Test func aSecondaryWhoseKeyIsGone() async throws {
        var zone = LocalZoneConfiguration(origin: origin, file: "dns/out.test")
        try await TestResolver.with(zones: ["out.test": text(3)]) { group in
            [try await FakeUpstream.start(on: group) { .answer($0.message.response(.refused)) }]
        } configure: { settings, upstreams in
            zone.primaries = [.init(address: upstreams[0].address, key: key.name)]
            settings.zones.zones[zone.origin] = zone
        } _: { secondary, upstreams in
            await #expect(throws: CheckFailure.self) { try await secondary.server.authority.transfer(origin)?.get() }
            #expect(upstreams[0].queries.isEmpty)
        }
    }

    /// A primary with a later version and no differences says so by its SOA record alone: the zone is asked for at once.
    @Test func aLoneLaterStart() async throws {
        let lone: FakeUpstream.Behaviour = { query in
            var answer = query.message.response()
            answer.flags.isAuthoritative = true
            let start = "out.test. 300 SOA ns.out.test. root.out.test. 4 3600 900 86400 300"
            let zone = [
                start, "out.test. 300 NS ns.out.test.", "ns.out.test. 300 A 192.0.2.1", "new.out.test. 300 A 192.0.2.4",
                start,
            ]
            let isWhole = query.message.questions[0].type == .axfr
            answer.answers = (isWhole ? zone : [start]).compactMap { try? record($0) }
            return .answer(answer)
        }
        var zone = LocalZoneConfiguration(origin: origin, file: "dns/out.test")
        try await TestResolver.with(keys: [key], zones: ["out.test": text(3)]) { group in
            [try await FakeUpstream.start(on: group, lone)]
        } configure: { settings, upstreams in
            zone.primaries = [.init(address: upstreams[0].address, key: nil)]
            settings.zones.zones[zone.origin] = zone
        } _: { secondary, upstreams in
            let clock = ContinuousClock()
            let begin = clock.now
            while try await secondary.ask("new.out.test").answers.isEmpty {
                _ = await secondary.server.authority.transfer(origin)
            }
            #expect(clock.now - begin < .seconds(20), "nothing is waited for")
            #expect(upstreams[0].asked.filter { !$0.hasSuffix("SOA") } == ["out.test. IXFR", "out.test. AXFR"])
        }
    }
}
