import Cryptography
import DNS
import DNSFixtures
import DNSSEC
import Daemon
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

private let text = """
    $TTL 3600
    @ SOA ns root 7 3600 900 604800 300
      NS ns
      NS ns2
    ns A 127.0.0.4
    ns2 A 127.0.0.5
    www A 192.0.2.1
    *.wild A 192.0.2.9
    there.wild TXT "itself"
    d DNAME wild
    gone DNAME missing
    long DNAME \(String(repeating: "x", count: 60)).\(String(repeating: "y", count: 60)).\(String(repeating: "z", count: 60))
    alias CNAME x.wild
    """
private let cut = """
    example.tld. NS ns.example.tld.
    example.tld. NS ns2.example.tld.
    ns.example.tld. A 127.0.0.4
    ns2.example.tld. A 127.0.0.5

    """

/// What is bogus comes from one server (RFC 4035 §5): others are asked.
struct BogusServerTests {
    private let good: SigningZone

    init() throws { good = try SigningZone(origin: "example.tld", text: text) }

    enum Staleness: CaseIterable {
        /// Its signatures have run out.
        case expired
        /// It has keys that nobody vouches for any more.
        case formerKeys
        /// It gives no signatures.
        case unsigned
        /// It changes what it says.
        case altered
        /// It proves no denial.
        case unproven
    }

    private func stale(_ kind: Staleness) throws -> FakeUpstream.Behaviour {
        let isOld = kind == .formerKeys
        let zone = try SigningZone(keys: isOld ? nil : good.keys, origin: "example.tld", text: text)
        if kind == .expired { zone.clock.withLockedValue { $0 -= 30 * 86_400 } }
        return try zone.server { query, answer in
            switch kind {
            case .expired, .formerKeys: break
            case .unsigned:
                answer.answers.removeAll { $0.type == .rrsig }
                answer.authorities.removeAll { [.rrsig, .nsec].contains($0.type) }
            case .altered:
                guard let forged = try? record("\(query.questions[0].name) 60 A 192.0.2.66") else { return }
                answer.answers = answer.answers.map { $0.type == .a ? forged : $0 }
            case .unproven: answer.authorities.removeAll { $0.type == .nsec }
            }
        }
    }

    @Test(arguments: Staleness.allCases, Mode.allCases)
    func oneStaleServerAndOneGood(kind: Staleness, mode: Mode) async throws {
        let servers = [4: try stale(kind), 5: try good.server()]
        try await FakeInternet(servers, tld: cut).with { [good] settings in
            mode.configure(&settings)
            good.trust(&settings)
        } _: { (resolver, servers) async throws in
            for turn in 0..<6 {
                let answer = try await resolver.ask("www.example.tld", dnssecOK: true)
                #expect(answer.responseCode == .noError && answer.flags.isAuthenticData, "turn \(turn)")
                #expect(answer.answers.first?.description.hasSuffix("192.0.2.1") == true)
                let missing = try await resolver.ask("n\(turn).example.tld", .mx, dnssecOK: true)
                #expect(missing.flags.isAuthenticData && missing.responseCode == .nameError, "turn \(turn)")
                resolver.clock.advance(4000)
            }
        }
    }

    @Test(arguments: Staleness.allCases)
    func oneStaleForwarderAndOneGood(kind: Staleness) async throws {
        try await TestResolver.with(upstreams: [try stale(kind), try good.server()]) { [good] settings in
            good.trust(&settings)
        } _: { (resolver, _) async throws in
            for turn in 0..<6 {
                let answer = try await resolver.ask("www.example.tld", dnssecOK: true)
                #expect(answer.responseCode == .noError && answer.flags.isAuthenticData, "turn \(turn)")
                let missing = try await resolver.ask("n\(turn).example.tld", .mx, dnssecOK: true)
                #expect(missing.flags.isAuthenticData, "turn \(turn)")
                resolver.clock.advance(4000)
            }
        }
    }

    /// One server still has the keys before the last change; their signature is good, but the others sign with a new one.
    @Test(arguments: 0..<8) func formerZoneKeys(turn: Int) async throws {
        let entry = try SigningZone(roles: [(.ksk, .active), (.zsk, .active)], origin: "example.tld", text: text)
        let other = try SigningZone(roles: [(.zsk, .active)], origin: "example.tld", text: text)
        let fresh = try SigningZone(keys: [entry.keys[0]] + other.keys, origin: "example.tld", text: text)
        let keys = try entry.server()
        entry.clock.withLockedValue { $0 -= 30 * 86_400 }
        let expired = try entry.server()
        let behind: FakeUpstream.Behaviour = { query in
            await query.message.questions[0].type == .dnskey ? keys(query) : expired(query)
        }
        try await FakeInternet([4: behind, 5: try fresh.server()], tld: cut).with { settings in
            fresh.trust(&settings)
        } _: { (resolver, _) async throws in
            for name in ["www", "a.wild", "none"] {
                let answer = try await resolver.ask("\(name).example.tld", dnssecOK: true)
                #expect(answer.flags.isAuthenticData, "\(name)")
            }
        }
    }

    /// The same of the parent's servers, which have the DS records.
    @Test(arguments: ["other digest", "without proof", "expired"]) func oneStaleParent(kind: String) async throws {
        let ds = try #require(good.keys[0].key.record.signer())
        let signer = "example DS \(ds.keyTag) \(ds.algorithm) \(ds.digestType) \(Self.hexadecimal(ds.digest))\n"
        let delegation =
            "example NS ns.example\nexample NS ns2.example\nns.example A 127.0.0.4\nns2.example A 127.0.0.5\n"
        let start = "$TTL 3600\n@ SOA ns root 7 3600 900 604800 300\n NS ns\n NS ns2\nns A 127.0.0.3\nns2 A 127.0.0.7\n"
        let parent = try SigningZone(origin: "tld", text: start + delegation + signer)
        let behind = try SigningZone(keys: parent.keys, origin: "tld", text: start + delegation + signer)
        if kind == "expired" { behind.clock.withLockedValue { $0 -= 30 * 86_400 } }
        let stale = try behind.server { _, answer in
            switch kind {
            case "other digest":
                guard let forged = try? record("example.tld. 60 DS 1 13 2 " + String(repeating: "00", count: 32)) else {
                    return
                }
                answer.answers = answer.answers.map { $0.type == .ds ? forged : $0 }
                answer.authorities = answer.authorities.map { $0.type == .ds ? forged : $0 }
            case "without proof":
                let kinds: [RecordType] = [.ds, .rrsig, .nsec]
                answer.answers.removeAll { kinds.contains($0.type) }
                answer.authorities.removeAll { kinds.contains($0.type) }
            default: break
            }
        }
        let servers = [3: stale, 7: try parent.server(), 4: try good.server(), 5: try good.server()]
        try await FakeInternet(servers, root: "tld. NS ns2.tld.\nns2.tld. A 127.0.0.7\n").with { settings in
            parent.trust(&settings)
        } _: { (resolver, _) async throws in
            for turn in 0..<4 {
                let answer = try await resolver.ask("www.example.tld", dnssecOK: true)
                #expect(answer.flags.isAuthenticData, "turn \(turn)")
                let missing = try await resolver.ask("none\(turn).tld", dnssecOK: true)
                #expect(missing.flags.isAuthenticData && missing.responseCode == .nameError, "turn \(turn)")
                resolver.clock.advance(4000)
            }
        }
    }

    private static func hexadecimal(_ octets: [UInt8]) -> String {
        octets.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    /// What was bogus is remembered for the server: the other one is asked first the next time.
    @Test func itIsRemembered() async throws {
        let servers = [4: try stale(.altered), 5: try good.server()]
        try await FakeInternet(servers, tld: cut).with { [good] settings in
            good.trust(&settings)
        } _: { (resolver, servers) async throws in
            for turn in 0..<20 { _ = try await resolver.ask("x\(turn).wild.example.tld", dnssecOK: true) }
            let asked = servers[4]?.asked.filter { $0.hasSuffix("wild.example.tld. A") && $0.hasPrefix("x") } ?? []
            #expect(asked.count <= 1, "the other one comes first: \(asked)")
        }
    }

    @Test func whereAllAreBogusItIsBogus() async throws {
        let servers = [4: try stale(.altered), 5: try stale(.expired)]
        try await FakeInternet(servers, tld: cut).with { [good] settings in
            good.trust(&settings)
        } _: { (resolver, servers) async throws in
            let answer = try await resolver.ask("www.example.tld", dnssecOK: true)
            #expect(answer.responseCode == .serverFailure)
            #expect(answer.edns?.options.compactMap(ExtendedError.init).isEmpty == false)
            #expect([4, 5].reduce(0) { $0 + (servers[$1]?.asked.count ?? 0) } < 16)
        }
    }

    /// KeyTrap (CVE-2023-50387): an answer that is made to cost much has nobody asked for more of the kind.
    @Test func whatCostsTooMuchIsNotCheckedOverAndOver() async throws {
        let honest = try good.server { query, answer in
            guard query.questions[0].type == .a, answer.answers.isEmpty else { return }
            guard let gap = answer.authorities.first(where: { $0.type == .nsec }),
                let signature = answer.authorities.first(where: { RecordSignature($0)?.typeCovered == .nsec })
            else { return }
            answer.authorities.removeAll { $0.type == .nsec || RecordSignature($0)?.typeCovered == .nsec }
            for number in 0..<4 {
                guard let name = try? DomainName("q\(number).example.tld") else { continue }
                answer.authorities.append(gap.owned(by: name))
                for bit in 0..<8 {
                    var data = signature.data
                    data[data.count - 1] ^= UInt8(1 << bit)
                    let wrong = try? ResourceRecord(name: name, type: .rrsig, timeToLive: 60, wireData: data)
                    answer.authorities += [wrong].compactMap { $0 }
                }
            }
        }
        let trap: FakeUpstream.Behaviour = { query in
            guard case .answer(var answer) = await honest(query), query.message.questions[0].type == .a, !query.isStream
            else { return await honest(query) }
            // It's too long for a datagram.
            answer.answers = []
            answer.authorities = []
            answer.flags.isTruncated = true
            return .answer(answer)
        }
        try await FakeInternet([4: trap, 5: trap], tld: cut).with { [good] settings in
            good.trust(&settings)
        } _: { (resolver, servers) async throws in
            let answer = try await resolver.ask("zz.example.tld", dnssecOK: true)
            #expect(answer.responseCode == .serverFailure)
            let asked = [4, 5].reduce(0) { sum, number in
                sum + (servers[number]?.queries.count { $0.isStream } ?? 0)
            }
            #expect(asked == 1)
        }
    }

    // MARK: Gaps

    private static let internalZone = """
        inside.example.tld. SOA . . 1 2 3 4 5
        inside.example.tld. NS .
        *.inside.example.tld. A 10.0.0.1
        """

    /// A public zone's proof that a name isn't there says nothing of an internal zone below it.
    @Test(arguments: ["stub", "forward"]) func gapsEndAtCuts(kind: String) async throws {
        let servers = [
            5: try good.server(), 4: try good.server(),
            6: try FakeInternet.serving(["inside.example.tld.": Self.internalZone]),
        ]
        let inside = try DomainName("inside.example.tld")
        try await FakeInternet(servers, tld: cut).with { [good] settings in
            good.trust(&settings, negative: [inside])
            guard let server = try? SocketAddress(ipAddress: "127.0.0.6", port: settings.recursion.serverPort) else {
                return
            }
            if kind == "stub" {
                settings.recursion.stubZones[inside] = [server]
            } else {
                settings.forwardZones[inside] = [ForwarderAddress(server)]
            }
        } _: { (resolver, servers) async throws in
            // These prove that there is nothing between gone and long.
            for name in ["hi", "j", "k", "insidf", "inside0"] {
                let answer = try await resolver.ask("\(name).example.tld", dnssecOK: true)
                #expect(answer.flags.isAuthenticData)
            }
            #expect(try await resolver.ask("a.inside.example.tld").answerLines == ["a.inside.example.tld. A 10.0.0.1"])
            #expect(try await resolver.ask("b.c.inside.example.tld", dnssecOK: true).answers.count == 1)
            #expect(servers[6]?.asked.isEmpty == false)
        }
    }

    /// Where nothing is to be validated nothing follows from proofs.
    @Test func gapsEndAtNegativeTrustAnchors() async throws {
        let honest = try FakeInternet.serving(["example.tld.": "inside.example.tld. A 192.0.2.7\n" + Self.plain])
        let behaviour = try good.server()
        let server: FakeUpstream.Behaviour = { query in
            let isInside = query.message.questions[0].name.description.lowercased().contains("inside")
            return isInside ? await honest(query) : await behaviour(query)
        }
        let inside = try DomainName("inside.example.tld")
        try await FakeInternet([4: server, 5: server], tld: cut).with { [good] settings in
            good.trust(&settings, negative: [inside])
        } _: { (resolver, _) async throws in
            for name in ["insidd", "insidf", "inside0"] {
                _ = try await resolver.ask("\(name).example.tld", dnssecOK: true)
            }
            let answer = try await resolver.ask("inside.example.tld", dnssecOK: true)
            #expect(answer.answers.first?.type == .a && !answer.flags.isAuthenticData)
        }
    }

    private static let plain = "example.tld. SOA . . 1 2 3 4 5\nexample.tld. NS ns.example.tld.\n"

    // MARK: DNAME

    /// Servers that leave out what proves the end of a chain: it's asked for by itself.
    @Test(arguments: [
        ("a.d.example.tld", ResponseCode.noError, "a.wild.example.tld. A 192.0.2.9"),
        ("alias.example.tld", .noError, "x.wild.example.tld. A 192.0.2.9"),
        ("a.gone.example.tld", .nameError, ""),
    ])
    func chainsWithoutTheirEndsProof(name: String, code: ResponseCode, last: String) async throws {
        let zone = try SigningZone(.ecdsaP256, .nsec3, keys: good.keys, origin: "example.tld", text: text)
        let server = try zone.server { _, answer in
            guard answer.answers.contains(where: { $0.type == .cname }) else { return }
            // As NSD does: nothing about the name that the alias leads to.
            answer.authorities.removeAll { record in
                record.type == .nsec3 || RecordSignature(record)?.typeCovered == .nsec3
            }
        }
        try await FakeInternet([4: server, 5: server], tld: cut).with { settings in
            zone.trust(&settings)
        } _: { (resolver, _) async throws in
            let answer = try await resolver.ask(name, dnssecOK: true)
            #expect(answer.responseCode == code && answer.flags.isAuthenticData)
            #expect((answer.answerLines.last { $0.contains(" A 192.") } ?? "") == last)
        }
    }

    /// A name that gets too long by a DNAME (RFC 6672 §2.2), whatever the server makes of it.
    @Test(arguments: [nil, ResponseCode.noError], [false, true])
    func aNameThatGetsTooLong(code: ResponseCode?, validates: Bool) async throws {
        let server = try good.server { _, answer in
            if let code, answer.responseCode == .nameExists { answer.responseCode = code }
        }
        try await FakeInternet([4: server, 5: server], tld: cut).with { [good] settings in
            if validates { good.trust(&settings) }
        } _: { (resolver, servers) async throws in
            let label = String(repeating: "a", count: 60)
            for _ in 0..<2 {
                let answer = try await resolver.ask("\(label).long.example.tld", dnssecOK: true)
                #expect(answer.responseCode == .nameExists)
                #expect(answer.answers.contains { $0.type == .dname })
                #expect(answer.flags.isAuthenticData == validates)
            }
            let count = servers.values.reduce(0) { $0 + $1.asked.count { $0.contains(".long.") } }
            #expect(count == 1, "it's kept as an answer")
            #expect(try await resolver.ask("a.d.example.tld").answers.count == 3)
            let alias = try await resolver.ask("a.d.example.tld", .cname, dnssecOK: true)
            #expect(alias.answers.map(\.type).contains(.dname) && alias.flags.isAuthenticData == validates)
        }
    }

    // MARK: One entry for all

    /// Where nothing is validated, clients with and without DO share what is cached, and what is old of it.
    @Test(arguments: [false, true]) func clientsWithAndWithoutDO(isFirst: Bool) async throws {
        let isDown = NIOLockedValueBox(false)
        let server = try good.server { query, answer in
            if isDown.withLockedValue({ $0 }) { answer = query.response(.serverFailure) }
        }
        try await FakeInternet([4: server, 5: server], tld: cut).with { (resolver, servers) async throws in
            _ = try await resolver.ask("www.example.tld", dnssecOK: isFirst)
            let count = servers.values.reduce(0) { $0 + $1.asked.count }
            let other = try await resolver.ask("www.example.tld", dnssecOK: !isFirst)
            #expect(other.answers.contains { $0.type == .rrsig } == !isFirst)
            #expect(servers.values.reduce(0) { $0 + $1.asked.count } == count)
            isDown.withLockedValue { $0 = true }
            resolver.clock.advance(4000)
            for dnssecOK in [!isFirst, isFirst] {
                let stale = try await resolver.ask("www.example.tld", dnssecOK: dnssecOK)
                #expect(stale.answers.contains { $0.type == .a })
                #expect(stale.answers.first?.timeToLive == 30)
            }
        }
    }

    // MARK: Hints

    @Test(arguments: [
        ("1 . alpn=h2 ipv4hint=192.0.2.1,10.0.0.1", true), ("1 . ipv6hint=fd00::1", true),
        ("1 . ipv6hint=2001:db8::1,::ffff:192.168.0.1", true), ("1 . ipv4hint=127.0.0.1", true),
        ("1 . ipv4hint=192.0.2.1 ipv6hint=2001:db8::1", false), ("0 target.example.tld.", false),
    ])
    func privateAddressesInHints(data: String, isPrivate: Bool) async throws {
        let zone =
            Self.plain + "ns.example.tld. A 127.0.0.4\nwww.example.tld. HTTPS \(data)\n_x.example.tld. SVCB \(data)\n"
        let server = try FakeInternet.serving(["example.tld.": zone])
        try await FakeInternet([4: server, 5: server], tld: cut).with { settings in
            settings.refusesPrivateAddresses = true
        } _: { (resolver, _) async throws in
            for (name, type) in [("www.example.tld", RecordType.https), ("_x.example.tld", .svcb)] {
                let answer = try await resolver.ask(name, type)
                #expect(answer.responseCode == (isPrivate ? .refused : .noError))
                #expect(answer.answers.isEmpty == isPrivate)
            }
        }
        try await FakeInternet([4: server, 5: server], tld: cut).with { settings in
            settings.refusesPrivateAddresses = true
            if let name = try? DomainName("example.tld") { settings.privateZones = [name] }
        } _: { (resolver, _) async throws in
            #expect(try await resolver.ask("www.example.tld", .https).answers.count == 1)
        }
    }
}
