import DNS
import DNSFixtures
import Daemon
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

private let example = """
    example.tld. SOA ns.example.tld. nobody.example.tld. 1 3600 600 86400 300
    example.tld. NS ns.example.tld.
    ns.example.tld. A 127.0.0.4
    www.example.tld. A 192.0.2.1
    a.b.c.d.example.tld. A 192.0.2.2
    alias.example.tld. CNAME www.example.tld.
    away.example.tld. CNAME www.other.tld.
    *.wild.example.tld. A 192.0.2.3
    """
private let exampleCut = "example.tld. NS ns.example.tld.\nns.example.tld. A 127.0.0.4\n"
private let other = """
    other.tld. SOA ns.other.tld. nobody.other.tld. 1 3600 600 86400 300
    other.tld. NS ns.other.tld.
    ns.other.tld. A 127.0.0.5
    www.other.tld. A 192.0.2.5
    """
private let otherCut = "other.tld. NS ns.other.tld.\nns.other.tld. A 127.0.0.5\n"

struct RecursionTests {
    private func internet(_ more: [Int: FakeUpstream.Behaviour] = [:], tld: String = "") throws -> FakeInternet {
        var servers = [
            4: try FakeInternet.serving(["example.tld.": example]), 5: try FakeInternet.serving(["other.tld.": other]),
        ]
        for (number, behaviour) in more { servers[number] = behaviour }
        return try FakeInternet(servers, tld: exampleCut + otherCut + tld)
    }

    @Test func fromTheRootDown() async throws {
        try await internet().with { (resolver, servers) async throws in
            let answer = try await resolver.ask("www.example.tld")
            #expect(answer.responseCode == .noError)
            #expect(answer.answerLines == ["www.example.tld. A 192.0.2.1"])
            #expect(!answer.flags.isAuthoritative && answer.flags.recursionAvailable && !answer.flags.isAuthenticData)
            // The root is primed, and no server sees more of the name than it needs (RFC 9156).
            #expect(servers[2]?.asked == [". NS", "tld. A"])
            #expect(servers[3]?.asked == ["example.tld. A"])
            #expect(servers[4]?.asked == ["www.example.tld. A"])
            #expect(servers[4]?.queries.first?.message.flags.recursionDesired == false)
            // The delegations are known now.
            _ = try await resolver.ask("missing.example.tld")
            #expect(servers[3]?.asked.count == 1)
        }
    }

    @Test func deepNamesAreShownLabelByLabel() async throws {
        try await internet().with { (resolver, servers) async throws in
            #expect(try await resolver.ask("a.b.c.d.example.tld").answerLines == ["a.b.c.d.example.tld. A 192.0.2.2"])
            #expect(
                servers[4]?.asked == [
                    "d.example.tld. A", "c.d.example.tld. A", "b.c.d.example.tld. A", "a.b.c.d.example.tld. A",
                ]
            )
        }
    }

    @Test func denialsAndWildcards() async throws {
        try await internet().with { (resolver, servers) async throws in
            let missing = try await resolver.ask("missing.example.tld")
            #expect(missing.responseCode == .nameError)
            #expect(missing.authorities.map(\.type) == [.soa])
            #expect(missing.authorities.first?.timeToLive == 300)
            let empty = try await resolver.ask("www.example.tld", .mx)
            #expect(empty.responseCode == .noError && empty.answers.isEmpty)
            let between = try await resolver.ask("b.c.d.example.tld")
            #expect(between.responseCode == .noError && between.answers.isEmpty)
            #expect(try await resolver.ask("x.y.wild.example.tld").answerLines == ["x.y.wild.example.tld. A 192.0.2.3"])
            #expect(try await resolver.ask("missing.tld").responseCode == .nameError)
            #expect(try await resolver.ask("missing").responseCode == .nameError)
            let count = servers[4]?.asked.count
            _ = try await resolver.ask("missing.example.tld", .txt)
            #expect(servers[4]?.asked.count == count)
        }
    }

    @Test func aliasesAreFollowedWithinAndOut() async throws {
        try await internet().with { (resolver, servers) async throws in
            let within = try await resolver.ask("alias.example.tld")
            #expect(within.answerLines.count == 2)
            let out = try await resolver.ask("away.example.tld")
            #expect(
                out.answerLines == [
                    "away.example.tld. CNAME www.other.tld.", "www.other.tld. A 192.0.2.5",
                ]
            )
            #expect(servers[5]?.asked == ["www.other.tld. A"])
        }
    }

    @Test func dsIsAskedOfTheParent() async throws {
        try await internet().with { (resolver, servers) async throws in
            _ = try await resolver.ask("www.example.tld")
            let answer = try await resolver.ask("example.tld", .ds)
            #expect(answer.responseCode == .noError && answer.answers.isEmpty)
            #expect(answer.authorities.first?.name.description == "tld.")
            #expect(servers[3]?.asked.last == "example.tld. DS")
        }
    }

    @Test func serversWithoutGlueAreLookedUp() async throws {
        let glueless = "far.tld. NS www.ns.other.tld.\n"
        let more = other + "\nwww.ns.other.tld. A 127.0.0.6\n"
        let far = "far.tld. SOA . . 1 2 3 4 5\nfar.tld. NS www.ns.other.tld.\nx.far.tld. A 192.0.2.9\n"
        let servers = [
            5: try FakeInternet.serving(["other.tld.": more]), 6: try FakeInternet.serving(["far.tld.": far]),
        ]
        try await internet(servers, tld: glueless).with { (resolver, _) async throws in
            #expect(try await resolver.ask("x.far.tld").answerLines == ["x.far.tld. A 192.0.2.9"])
        }
    }

    @Test func aCircleOfServersEnds() async throws {
        let circle = "one.tld. NS ns.two.tld.\ntwo.tld. NS ns.one.tld.\n"
        try await internet(tld: circle).with { (resolver, servers) async throws in
            let answer = try await resolver.ask("www.one.tld")
            #expect(answer.responseCode == .serverFailure)
            #expect(answer.edns?.options.compactMap(ExtendedError.init).first?.code == 22)
            #expect((servers[3]?.asked.count ?? 99) < 20)
        }
    }

    @Test func lameSilentAndFailingServersAreLeftForAnother() async throws {
        let many = """
            many.tld. NS ns1.many.tld.
            many.tld. NS ns2.many.tld.
            many.tld. NS ns3.many.tld.
            ns1.many.tld. A 127.0.0.6
            ns2.many.tld. A 127.0.0.7
            ns3.many.tld. A 127.0.0.8

            """
        let good = "many.tld. SOA . . 1 2 3 4 5\nmany.tld. NS ns3.many.tld.\nwww.many.tld. A 192.0.2.7\n"
        let servers: [Int: FakeUpstream.Behaviour] = [
            6: { .answer($0.message.response(.refused)) },
            7: { _ in .silence },
            8: try FakeInternet.serving(["many.tld.": good]),
        ]
        try await internet(servers, tld: many).with { (resolver, servers) async throws in
            #expect(try await resolver.ask("www.many.tld").answerLines == ["www.many.tld. A 192.0.2.7"])
            for number in 0..<10 { _ = try await resolver.ask("n\(number).many.tld") }
            #expect((servers[6]?.asked.count ?? 9) <= 1, "a lame server is remembered")
        }
    }

    /// A zone's server speaks of other zones: nothing of it is believed (Kaminsky's attack in its simplest form).
    @Test func whatIsOutOfBailiwickIsNotBelieved() async throws {
        let liar: FakeUpstream.Behaviour = { query in
            let name = query.message.questions[0].name.description
            var answer = query.message.answered(
                answers: ["\(name) 3600 A 192.0.2.66", "www.other.tld. 3600 A 192.0.2.66"],
                authorities: ["other.tld. 3600 NS ns.example.tld.", "tld. 3600 NS ns.example.tld."],
                additionals: ["ns.other.tld. 3600 A 127.0.0.4", "ns.tld. 3600 A 127.0.0.4"]
            )
            answer.flags.isAuthoritative = true
            answer.flags.recursionAvailable = false
            return .answer(answer)
        }
        try await internet([4: liar]).with { (resolver, _) async throws in
            let answer = try await resolver.ask("x.example.tld")
            #expect(answer.answerLines == ["x.example.tld. A 192.0.2.66"])
            #expect(answer.authorities.isEmpty && answer.additionals.isEmpty)
            #expect(try await resolver.ask("www.other.tld").answerLines == ["www.other.tld. A 192.0.2.5"])
        }
    }

    @Test func referralsUpwardsAndSidewaysLeadNowhere() async throws {
        let liar: FakeUpstream.Behaviour = { query in
            var answer = query.message.answered(
                authorities: ["tld. 3600 NS ns.example.tld.", "other.tld. 3600 NS ns.example.tld."],
                additionals: ["ns.example.tld. 3600 A 127.0.0.4"]
            )
            answer.flags.recursionAvailable = false
            return .answer(answer)
        }
        try await internet([4: liar]).with { (resolver, servers) async throws in
            #expect(try await resolver.ask("www.example.tld").responseCode == .serverFailure)
            #expect(try await resolver.ask("www.other.tld").responseCode == .noError)
            #expect((servers[4]?.asked.count ?? 99) <= 3)
        }
    }

    /// NXNSAttack (CVE-2020-8616): a referral to many servers whose names have to be looked up elsewhere.
    @Test func aReferralToManyNamesCostsLittle() async throws {
        let attacker: FakeUpstream.Behaviour = { query in
            let name = query.message.questions[0].name
            var answer = query.message.answered(
                authorities: (0..<200).map { "sub.evil.tld. 3600 NS x\($0).other.tld." }
            )
            answer.flags.recursionAvailable = false
            if name.labelCount < 3 { answer = query.message.answered(authorities: ["evil.tld. SOA . . 1 2 3 4 5"]) }
            return .answer(answer)
        }
        let cut = "evil.tld. NS ns.evil.tld.\nns.evil.tld. A 127.0.0.6\n"
        try await internet([6: attacker], tld: cut).with { (resolver, servers) async throws in
            #expect(try await resolver.ask("a.sub.evil.tld").responseCode == .serverFailure)
            #expect((servers[5]?.asked.count ?? 999) <= 32, "the victim's servers get no more than a few questions")
        }
    }

    @Test func anOldAnswerIsBetterThanNone() async throws {
        let isDown = NIOLockedValueBox(false)
        let honest = try FakeInternet.serving(["example.tld.": example])
        let server: FakeUpstream.Behaviour = { query in
            isDown.withLockedValue { $0 } ? .answer(query.message.response(.serverFailure)) : await honest(query)
        }
        try await internet([4: server]).with { (resolver, servers) async throws in
            #expect(try await resolver.ask("www.example.tld").answers.count == 1)
            isDown.withLockedValue { $0 = true }
            resolver.clock.advance(4000)
            let stale = try await resolver.ask("www.example.tld")
            #expect(stale.answerLines == ["www.example.tld. A 192.0.2.1"])
            #expect(stale.answers.first?.timeToLive == 30)
            #expect(stale.edns?.options.compactMap(ExtendedError.init).first?.code == ExtendedError.staleAnswerCode)
            isDown.withLockedValue { $0 = false }
            resolver.clock.advance(1000)
            #expect(try await resolver.ask("www.example.tld").answers.first?.timeToLive == 3600)
        }
    }

    @Test func privateAddressesInPublicAnswersAreRefused() async throws {
        let zone = example + "\ninside.example.tld. A 192.168.1.1\nok.example.tld. A 192.0.2.1\n"
        try await internet([4: try FakeInternet.serving(["example.tld.": zone])]).with { settings in
            settings.refusesPrivateAddresses = true
        } _: { (resolver, _) async throws in
            let answer = try await resolver.ask("inside.example.tld")
            #expect(answer.responseCode == .refused && answer.answers.isEmpty)
            #expect(answer.edns?.options.compactMap(ExtendedError.init).first?.code == ExtendedError.filteredCode)
            #expect(try await resolver.ask("ok.example.tld").answers.count == 1)
        }
    }

    @Test func serversOnLoopbackAreNotAskedUnlessAllowed() async throws {
        try await internet().with { settings in
            settings.recursion.addresses.asksLoopback = false
        } _: { (resolver, servers) async throws in
            #expect(try await resolver.ask("www.example.tld").responseCode == .serverFailure)
            #expect(servers[4]?.asked.isEmpty == true)
        }
    }

    @Test func aStubZonesServersAreAskedWithoutTheRoot() async throws {
        try await internet().with { settings in
            settings.recursion.rootHints = nil
            settings.recursion.addresses.asksLoopback = false
            let zone = try? DomainName("example.tld")
            let server = try? SocketAddress(ipAddress: "127.0.0.4", port: settings.recursion.serverPort)
            if let zone, let server { settings.recursion.stubZones[zone] = [server] }
        } _: { (resolver, servers) async throws in
            #expect(try await resolver.ask("www.example.tld").answers.count == 1)
            #expect(servers[2]?.asked.isEmpty == true)
            #expect(try await resolver.ask("www.other.tld").responseCode == .serverFailure)
        }
    }

    @Test func anAnswerInGreatDemandIsRenewedBeforeItsEnd() async throws {
        try await internet().with { (resolver, servers) async throws in
            _ = try await resolver.ask("www.example.tld", dnssecOK: true)
            resolver.clock.advance(3400)
            _ = try await resolver.ask("www.example.tld")
            while servers[4]?.asked.count != 2 { await Task.yield() }
            resolver.clock.advance(1000)
            let count = servers[4]?.asked.count
            #expect(try await resolver.ask("www.example.tld").answers.first?.timeToLive ?? 0 > 0)
            #expect(servers[4]?.asked.count == count)
        }
    }
}
