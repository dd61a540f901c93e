import Cryptography
import DNS
import DNSSEC
import Daemon
import NIOConcurrencyHelpers
import Network
import Testing
import ZoneKeys
import ZoneTransfer

@testable import ResolverService

#if canImport(Glibc)
import Glibc
#endif

private typealias Denial = LocalZoneConfiguration.Denial

/// Signed zones as other servers get them.
struct SignedTransferTests {
    private func records(_ zone: SigningZone) throws -> [ResourceRecord] {
        let transfer = SignedTransfer(zone.signed, now: zone.clock.withLockedValue { $0 })
        var records: [ResourceRecord] = []
        while true {
            let piece = try transfer.next()
            guard !piece.isEmpty else { return records }
            records += piece
        }
    }

    @Test(arguments: [KeyKind.ecdsaP256, .ed25519], Denial.allCases)
    private func everySetOfTheZoneIsSigned(_ kind: KeyKind, _ denial: Denial) throws {
        let zone = try SigningZone(kind, denial, roles: [(.ksk, .active), (.zsk, .active), (.zsk, .published)])
        let records = try records(zone)
        #expect(records.first == zone.zone.start && records.last == zone.zone.start)
        #expect(records.count { $0.type == .soa } == 2)
        let now = zone.clock.withLockedValue { $0 }
        // What the zone has is all there.
        let own = records.filter { ![.rrsig, .nsec, .nsec3, .dnskey, .cds, .cdnskey, .nsec3param].contains($0.type) }
        #expect(Set(own) == Set(zone.zone.records))
        let keys = TrustedKeys(
            zone: zone.origin,
            keys: zone.keys.compactMap { ZoneKey($0.key.record) },
            ValidationPolicy()
        )
        let unsigned: Set<String> = [
            "sub.example.test. NS", "ns.sub.example.test. A", "safe.example.test. NS", "ns.safe.example.test. A",
        ]
        for set in RecordSet.sets(of: Array(records.dropLast())) {
            let text = "\(set.name) \(set.type)"
            guard !unsigned.contains(text) else {
                #expect(set.signatures.isEmpty, "\(text)")
                continue
            }
            #expect(throws: Never.self, "\(text)") {
                _ = try keys.verify(set, now: now + 14 * 86_400 - 1, ValidationPolicy(), ValidationBudget())
            }
            #expect(set.signatures.count == 1)
            #expect(set.signatures.allSatisfy { $0.originalTimeToLive == set.records[0].timeToLive })
        }
    }

    @Test func theChainOfNamesIsClosed() throws {
        let zone = try SigningZone(.ed25519, .compact)
        let records = try records(zone).filter { $0.type == .nsec }
        var names: [DomainName] = []
        var next = zone.origin
        repeat {
            names.append(next)
            let record = try #require(records.first { $0.name == next })
            next = try #require(NextSecure(record)).next
        } while next != zone.origin && names.count <= records.count
        #expect(names.count == records.count)
        #expect(names == names.sorted())
        let isThere = Set(names.map(\.description))
        #expect(isThere.isSuperset(of: ["sub.example.test.", "*.wild.example.test.", "a.b.c.example.test."]))
        #expect(isThere.isDisjoint(with: ["ns.sub.example.test.", "c.example.test.", "wild.example.test."]))
    }

    @Test func theChainOfHashesIsClosed() throws {
        let zone = try SigningZone(.ed25519, .nsec3)
        let records = try records(zone)
        let links = records.filter { $0.type == .nsec3 }.compactMap(NextSecure3.init)
        let hashes = links.map(\.hash)
        #expect(zip(hashes, hashes.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) })
        #expect(links.map(\.next) == Array(hashes.dropFirst()) + [hashes[0]])
        #expect(links.allSatisfy { !$0.isOptOut && $0.iterations == 0 && $0.salt.isEmpty })
        for name in ["", "c.", "b.c.", "wild.", "*.wild.", "sub.", "mail."] {
            #expect(hashes.contains(NameHash.hash(try DomainName("\(name)example.test"))), "\(name)")
        }
        #expect(!hashes.contains(NameHash.hash(try DomainName("ns.sub.example.test"))))
        #expect(records.contains { $0.type == .nsec3param })
    }

    /// What the resolver answers and what it gives to others is one version, and another one when others need it.
    @Test func versionsForOthers() async throws {
        let (origin, wall) = (try DomainName("example.test"), TestClock())
        wall.advance(1_800_000_000)
        try await TestResolver.with(zones: ["example.test": SigningZone.text]) { settings in
            var zone = LocalZoneConfiguration(origin: origin, file: "zones/example.test")
            zone.sign = .ed25519
            zone.allowTransfer.networks = ["127.0.0.1"].compactMap { AddressRange($0) }
            settings.localZones[origin] = zone
            settings.wallClock = { UInt32(truncatingIfNeeded: wall.now) }
        } _: { resolver, _ in
            let path = "\(resolver.directory)/keys"
            #expect(mkdir(path, 0o700) == 0)
            let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            let keys = KeyDirectory(descriptor)
            defer {
                for key in keys.keys(of: origin, base: "example.test").keys { try? keys.remove(key) }
                close(descriptor)
                rmdir(path)
            }
            func start() async throws -> ResourceRecord {
                try #require(try await resolver.ask("example.test", .soa).answers.first)
            }
            func transfer(since start: ResourceRecord? = nil) async throws -> TransferOutcome? {
                let request = start.map { TransferRequest.incremental(since: $0) } ?? .full
                let query = request.query(id: 5, zone: origin).encode()
                let octets = [UInt8(query.count >> 8), UInt8(query.count & 0xFF)] + query
                let replies = try await resolver.rawStream(octets) { replies in
                    let last = replies.last.flatMap { try? DNSMessage(decoding: $0) }
                    return last?.answers.last?.type == .soa || last?.answers.count == 1
                }
                var reader = TransferReader(zone: origin, request: request, id: 5)
                for reply in replies { try reader.read(try DNSMessage(decoding: reply)) }
                return reader.outcome
            }
            func make() throws {
                let secret = try #require(PrivateKey.generate(.ed25519))
                let key = SigningKey(zone: origin, key: secret, isSecureEntryPoint: true, timeToLive: 300)
                let signing = ZoneSigningKey(key: try #require(key), role: .csk, state: .active)
                try keys.add(StoredKey(signing, base: "example.test", since: 1), pem: secret.pem)
            }
            let plain = try await start()
            guard case .zone(let unsigned) = try await transfer() else {
                Issue.record("no zone")
                return
            }
            #expect(!unsigned.contains { $0.type == .rrsig })
            var former = plain
            // A key comes; another one within the same second; signatures become old.
            for step in 0..<3 {
                if step < 2 { try make() } else { wall.advance(Int64(SigningStore.renewal) + 1) }
                await resolver.server.reload(onlyChanged: step == 2)
                let latter = try await start()
                let (old, new) = (StartOfAuthority(former)?.serial ?? 0, StartOfAuthority(latter)?.serial ?? 0)
                #expect(SerialNumber(new).isAfter(SerialNumber(old)), "\(step)")
                guard case .zone(let signed) = try await transfer(since: former) else {
                    Issue.record("no zone")
                    return
                }
                #expect(signed.first == latter)
                #expect(signed.count { $0.type == .dnskey } == min(step + 1, 2))
                let signatures = signed.compactMap(RecordSignature.init)
                #expect(!signatures.isEmpty)
                #expect(signatures.allSatisfy { Int64($0.expiration) - wall.now == Int64(SignedTransfer.lifetime) })
                #expect(try await transfer(since: latter) == .current(latter))
                former = latter
            }
            // Nothing has changed.
            wall.advance(Int64(SigningStore.renewal) - 1)
            await resolver.server.reload()
            #expect(try await start() == former)
        }
    }
}
