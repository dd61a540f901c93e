import DNS
import DNSFixtures
import NIOCore
import Network
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

struct AddressTranslationTests {
    private static func translator(_ prefix: String) throws -> DNS64 {
        let range = try #require(AddressRange(prefix))
        return try #require(DNS64(prefix: range))
    }

    /// RFC 6052 §2.4, table 1.
    @Test(arguments: [
        ("2001:db8::/32", "2001:db8:c000:221::"), ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"), ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
    ])
    func prefixes(_ prefix: String, _ expected: String) throws {
        let dns64 = try Self.translator(prefix)
        let address = try #require(dns64.address(for: [192, 0, 2, 33]))
        #expect(address == AddressText.parse6(expected.utf8))
        let digits = address.reversed().flatMap { [$0 & 15, $0 >> 4] }.map { String($0, radix: 16) }
        let name = try DomainName(digits.joined(separator: ".") + ".IP6.arpa")
        #expect(dns64.reverseTarget(name)?.description == "33.2.0.192.in-addr.arpa.")
    }

    @Test(arguments: ["64:ff9b::/95", "192.0.2.0/24", "2001:db8::/33", "2001:db8:0:0:100::/96"])
    func whatIsNoPrefix(_ text: String) throws {
        let range = AddressRange(text)
        #expect(range.flatMap { DNS64(prefix: $0) } == nil)
    }

    @Test func privateAddressesBehindTheWellKnownPrefix() throws {
        let dns64 = try Self.translator("64:ff9b::/96")
        #expect(dns64.address(for: [10, 0, 0, 1]) == nil)
        let own = try Self.translator("2001:db8::/96")
        #expect(own.address(for: [10, 0, 0, 1]) != nil)
    }

    /// Where some addresses don't count, the signature of all of them doesn't either (RFC 6147 §5.1.4).
    @Test func someAddressesDoNotCount() throws {
        let excluded = try #require(AddressRange("2001:db8:f::/48"))
        let prefix = try #require(AddressRange("64:ff9b::/96"))
        let dns64 = try #require(DNS64(prefix: prefix, excluded: [excluded]))
        let signature = " 300 IN RRSIG AAAA 13 3 300 20300101000000 20200101000000 1 example.net. AAAA"
        var found = Resolution()
        found.answers = try ["AAAA 2001:db8::1", "AAAA 2001:db8:f::1"].map { try record("a.example.net. 300 IN \($0)") }
        found.answers.append(try record("a.example.net." + signature))
        #expect(dns64.judge(found)?.answers == [found.answers[0]])
        found.answers.remove(at: 1)
        #expect(dns64.judge(found)?.answers == found.answers)
        found.answers.remove(at: 0)
        #expect(dns64.judge(found) == nil)
    }

    @Test func otherReverseNames() throws {
        let dns64 = try Self.translator("64:ff9b::/96")
        for text in [
            "ip6.arpa", "1.ip6.arpa", "33.2.0.192.in-addr.arpa", String(repeating: "0.", count: 32) + "ip6.arpa",
        ] {
            let name = try DomainName(text)
            #expect(dns64.reverseTarget(name) == nil)
        }
    }
}

struct DNS64ServiceTests {
    private static let upstream: FakeUpstream.Behaviour = { query in
        let question = query.message.questions[0]
        let name = question.name.lowercased.description
        let soa = ["example.net. 60 SOA ns root 1 2 3 4 60"]
        switch (name, question.type) {
        case ("four.example.net.", .a):
            return .answer(query.message.answered(answers: ["four.example.net. 300 A 192.0.2.33"]))
        case ("both.example.net.", .a):
            return .answer(query.message.answered(answers: ["both.example.net. 300 A 192.0.2.33"]))
        case ("both.example.net.", .aaaa):
            return .answer(query.message.answered(answers: ["both.example.net. 300 AAAA 2001:db8::1"]))
        case ("mapped.example.net.", .a):
            return .answer(query.message.answered(answers: ["mapped.example.net. 300 A 192.0.2.34"]))
        case ("mapped.example.net.", .aaaa):
            return .answer(query.message.answered(answers: ["mapped.example.net. 300 AAAA ::ffff:192.0.2.34"]))
        case ("alias.example.net.", .a):
            return .answer(
                query.message.answered(
                    answers: ["alias.example.net. 300 CNAME four.example.net.", "four.example.net. 300 A 192.0.2.33"]
                )
            )
        case ("alias.example.net.", .aaaa):
            return .answer(
                query.message.answered(answers: ["alias.example.net. 300 CNAME four.example.net."], authorities: soa)
            )
        case ("4.3.2.45.in-addr.arpa.", .ptr):
            return .answer(query.message.answered(answers: ["4.3.2.45.in-addr.arpa. 300 PTR four.example.net."]))
        case ("missing.example.net.", _): return .answer(query.message.answered(.nameError, authorities: soa))
        case ("broken.example.net.", .aaaa): return .answer(query.message.answered(.serverFailure))
        case ("broken.example.net.", .a):
            return .answer(query.message.answered(answers: ["broken.example.net. 300 A 192.0.2.33"]))
        default: return .answer(query.message.answered(authorities: soa))
        }
    }

    private func with(
        _ prefix: String = "64:ff9b::/96",
        clients: [AddressRange]? = nil,
        _ body: (TestResolver) async throws -> Void
    ) async throws {
        try await TestResolver.with(upstreams: [Self.upstream]) { (settings) in
            settings.dns64 = AddressRange(prefix).flatMap { DNS64(prefix: $0, clients: clients) }
        } _: { (resolver, _) async throws in
            try await body(resolver)
        }
    }

    @Test func addressesAreMadeUp() async throws {
        try await with { resolver in
            for _ in 0..<2 {
                let answer = try await resolver.ask("four.example.net", .aaaa)
                #expect(answer.answerLines == ["four.example.net. AAAA 64:ff9b::c000:221"])
                #expect((answer.answers.first?.timeToLive ?? 999) <= 60, "no longer than the denial")
                #expect(
                    try await resolver.ask("four.example.net", .a).answerLines == ["four.example.net. A 192.0.2.33"]
                )
            }
            #expect(
                try await resolver.ask("both.example.net", .aaaa).answerLines == ["both.example.net. AAAA 2001:db8::1"]
            )
            #expect(
                try await resolver.ask("mapped.example.net", .aaaa).answerLines == [
                    "mapped.example.net. AAAA 64:ff9b::c000:222"
                ]
            )
            #expect(
                try await resolver.ask("alias.example.net", .aaaa).answerLines
                    == ["alias.example.net. CNAME four.example.net.", "four.example.net. AAAA 64:ff9b::c000:221"]
            )
            #expect(try await resolver.ask("missing.example.net", .aaaa).responseCode == .nameError)
            #expect(try await resolver.ask("broken.example.net", .aaaa).answers.count == 1)
            let nothing = try await resolver.ask("nothing.example.net", .aaaa)
            #expect(nothing.responseCode == .noError)
            #expect(nothing.authorities.count == 1)
        }
    }

    @Test func whoValidatesGetsTheTruth() async throws {
        try await with { resolver in
            var query = DNSMessage.query(
                id: 1,
                question: Question(name: try DomainName("four.example.net"), type: .aaaa),
                dnssecOK: true
            )
            #expect(try await resolver.ask(query).answers.count == 1)
            query.flags.checkingDisabled = true
            #expect(try await resolver.ask(query).answers.isEmpty)
        }
    }

    @Test func namesOfMadeUpAddresses() async throws {
        try await with { resolver in
            let name = "4.0.3.0.2.0.d.2." + String(repeating: "0.", count: 16) + "b.9.f.f.4.6.0.0.ip6.arpa"
            let answer = try await resolver.ask(name, .ptr)
            #expect(answer.answers.map(\.type) == [.cname, .ptr])
            #expect(answer.answers.last?.presentationData == "four.example.net.")
        }
    }

    @Test func theNameThatTellsThePrefix() async throws {
        try await with { resolver in
            let answer = try await resolver.ask("ipv4only.arpa", .aaaa)
            #expect(
                Set(answer.answerLines) == [
                    "ipv4only.arpa. AAAA 64:ff9b::c000:aa", "ipv4only.arpa. AAAA 64:ff9b::c000:ab",
                ]
            )
            #expect(try await resolver.ask("ipv4only.arpa", .a).answers.count == 2)
            #expect(try await resolver.ask("170.0.0.192.in-addr.arpa", .ptr).answers.count == 1)
        }
    }

    @Test func onlyForThoseNamed() async throws {
        try await with(clients: AddressRange("192.0.2.0/24").map { [$0] }) { (resolver) async throws in
            #expect(try await resolver.ask("four.example.net", .aaaa).answers.isEmpty)
        }
    }
}
