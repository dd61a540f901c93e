import Cryptography
import DNS
import DNSFixtures
import DNSSEC
import Daemon
import NIOConcurrencyHelpers
import Network
import Testing
import ZoneKeys
import ZoneTransfer

@testable import LocalZones
@testable import Recursion
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

    /// The zone as another server has it.
    private func copy(_ zone: SigningZone) throws -> PresignedZone {
        let records = Array(try records(zone).dropLast())
        let copy = try Zone(origin: zone.origin, records: records)
        #expect(Set(copy.records) == Set(records), "with all times to live")
        #expect(PresignedZone(copy) == nil, "not prepared")
        copy.prepare()
        return try #require(PresignedZone(copy))
    }

    /// A server that got the zone signed proves the same as one that signs.
    @Test(arguments: Denial.allCases)
    private func everyAnswerOfACopyIsProved(_ denial: Denial) async throws {
        let zone = try SigningZone(.ecdsaP256, denial)
        let copy = try copy(zone)
        for expected in SigningCase.all {
            let answer = copy.answer(Question(name: try DomainName(expected.name), type: expected.type))
            #expect(answer.answers.count { $0.type != .rrsig } == expected.count, "\(expected.testDescription)")
            #expect(answer.code == (expected.isMissing ? .nameError : .noError), "\(expected.testDescription)")
            let verdict = try await zone.judge(expected.name, expected.type, answer)
            #expect(verdict == .secure, "\(expected.testDescription)")
            for index in answer.answers.indices where answer.answers[index].type == .rrsig {
                var lacking = answer
                lacking.answers.remove(at: index)
                let verdict = try await zone.judge(expected.name, expected.type, lacking)
                #expect(verdict != .secure, "\(expected.testDescription) without \(index)")
            }
            for index in answer.authorities.indices where [.nsec, .nsec3].contains(answer.authorities[index].type) {
                var lacking = answer
                lacking.authorities.remove(at: index)
                let verdict = try await zone.judge(expected.name, expected.type, lacking)
                #expect(verdict != .secure, "\(expected.testDescription) without \(index)")
            }
        }
    }

    @Test(arguments: Denial.allCases)
    private func referralsOfACopy(_ denial: Denial) async throws {
        let zone = try SigningZone(.ed25519, denial)
        let copy = try copy(zone)
        let insecure = copy.answer(Question(name: try DomainName("www.sub.example.test"), type: .a))
        #expect(!insecure.isAuthoritative && insecure.answers.isEmpty)
        let proof: RecordType = denial == .compact ? .nsec : .nsec3
        #expect(insecure.authorities.map(\.type) == [.ns, .ns, proof, .rrsig])
        let secure = copy.answer(Question(name: try DomainName("www.safe.example.test"), type: .a))
        #expect(secure.authorities.map(\.type) == [.ns, .ds, .rrsig])
    }

    /// Unsigned delegations that are left out of the chain (RFC 5155 §6), and names that are only there for them.
    @Test func optOut() async throws {
        let zone = try SigningZone(.ed25519, .nsec3)
        let key = try #require(zone.keys.first?.key)
        let text = "\nmany.deep NS ns.elsewhere.test.\nmore NS ns.elsewhere.test.\nzz A 192.0.2.1"
        let names = try ["example.test", "mail.example.test", "zz.example.test"].map { try DomainName($0) }
        let all = try MasterFile.parse(Array((SigningZone.text + text).utf8), file: "", origin: zone.origin) { _ in
            .failure(MasterFileIncludeError(reason: ""))
        }.map(\.record)
        let kept = all.filter { names.contains($0.name) || $0.type == .ns }
        let extras = zone.signed.extras.values.flatMap(\.self)
        var records = kept + extras
        let hashes = names.map(NameHash.hash).sorted { $0.lexicographicallyPrecedes($1) }
        for (place, hash) in hashes.enumerated() {
            let name = try #require(names.first { NameHash.hash($0) == hash })
            let types = Set(records.filter { $0.name == name }.map(\.type)).union([.rrsig])
            let next = hashes[(place + 1) % hashes.count]
            let made = ResourceRecord.nextSecure3(hash, next: next, in: zone.origin, types: types, timeToLive: 300)
            let record = try #require(made)
            var data = record.data
            data[1] = 1
            records.append(try ResourceRecord(name: record.name, type: .nsec3, timeToLive: 300, wireData: data))
        }
        let now = zone.clock.withLockedValue { $0 }
        for set in RecordSet.sets(of: records) where set.type != .ns || set.name == zone.origin {
            let signature = key.sign(try #require(SignableSet(set.records)), inception: now - 1, expiration: now + 60)
            records.append(try #require(signature))
        }
        let copy = try Zone(origin: zone.origin, records: records)
        copy.prepare()
        let presigned = try #require(PresignedZone(copy))
        for (name, type, expected) in [
            ("more", RecordType.ds, Security.insecure(nil)), ("many.deep", .ds, .insecure(nil)),
            ("nowhere", .a, .insecure(nil)), ("zz", .a, .secure), ("zz", .mx, .secure),
        ] {
            let question = Question(name: try DomainName("\(name).example.test"), type: type)
            let answer = presigned.answer(question)
            let verdict = try await zone.judge("\(name).example.test", type, answer)
            switch (verdict, expected) {
            case (.secure, .secure), (.insecure, .insecure): break
            default: Issue.record("\(name) \(type): \(verdict)")
            }
        }
        let referral = presigned.answer(Question(name: try DomainName("www.many.deep.example.test"), type: .a))
        #expect(referral.authorities.count { $0.type == .nsec3 } >= 1)
    }

    /// The chain of trust to a zone that others serve leads through a copy of ours (RFC 4035 §5.2).
    @Test func aCopyVouchesForAZoneBelow() async throws {
        let below = try DomainName("safe.example.test")
        let secret = try #require(PrivateKey.generate(.ed25519))
        let made = SigningKey(zone: below, key: secret, isSecureEntryPoint: true, timeToLive: 300)
        let key = try #require(made)
        let signer = try #require(key.delegationSigner())
        let text = SigningZone.text.replacing(/DS 1 8 2 0+1/, with: "DS \(signer.presentationData)")
        let zone = try SigningZone(.ed25519, .nsec3, text: text)
        let lines = try records(zone).dropLast().map(\.masterFileLine).joined(separator: "\n") + "\n"
        let now = zone.clock.withLockedValue { $0 }
        let behaviour: FakeUpstream.Behaviour = { query in
            let question = query.message.questions[0]
            var answer = query.message.response()
            let record = try? record("www.safe.example.test. 300 IN A 192.0.2.99")
            answer.answers = question.type == .dnskey ? [key.record] : [record].compactMap { $0 }
            let signature = SignableSet(answer.answers).flatMap {
                key.sign($0, inception: now - 1, expiration: now + 60)
            }
            answer.answers += [signature].compactMap { $0 }
            return .answer(answer)
        }
        for isWhole in [true, false] {
            // Without its signature the DS record is worth nothing.
            let kept = isWhole ? lines : lines.replacing(/.*\tRRSIG\tDS .*\n/, with: "")
            #expect(isWhole || kept != lines)
            try await TestResolver.with(zones: ["example.test": kept], upstreams: [behaviour]) { settings in
                settings.forwardZones[below] = settings.forwarders
                settings.recursion.trustAnchors = TrustAnchors(zone.keys.map(\.key.record))
                settings.clock.wallClock = { now }
            } _: { resolver, _ in
                let answer = try await resolver.ask("www.safe.example.test", dnssecOK: true)
                #expect(answer.flags.isAuthenticData == isWhole)
                #expect(answer.responseCode == (isWhole ? .noError : .serverFailure))
            }
        }
    }

    /// What the resolver answers and what it gives to others is one version, and another one when others need it.
    @Test func versionsForOthers() async throws {
        let (origin, wall) = (try DomainName("example.test"), TestClock())
        wall.advance(1_800_000_000)
        try await TestResolver.with(zones: ["example.test": SigningZone.text]) { settings in
            var zone = LocalZoneConfiguration(origin: origin, file: "zones/example.test")
            zone.sign = .ed25519
            zone.allowTransfer.networks = ["127.0.0.1"].compactMap { AddressRange($0) }
            settings.zones.zones[origin] = zone
            settings.clock.wallClock = { UInt32(truncatingIfNeeded: wall.now) }
        } _: { resolver, _ in
            let directory = try TestKeyDirectory(of: resolver, zone: origin, base: "example.test")
            defer { directory.remove() }
            let keys = directory.keys
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
