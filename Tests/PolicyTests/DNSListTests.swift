import DNS
import MailAuth
import MailRules
import Testing

@testable import Policy

@Suite struct DNSListTests {
    private static let zone = """
        7.2.0.192.bl.test. A 127.0.0.2
        8.2.0.192.bl.test. A 127.9.9.2
        9.2.0.192.bl.test. A 127.255.255.254
        10.2.0.192.bl.test. A 192.0.2.1
        7.2.0.192.good.test. A 127.0.5.1
        """

    private func facts(
        _ last: UInt8,
        codes: [String] = [],
        failing: [String] = []
    ) async throws -> ConnectionFacts {
        var lookup = try ZoneLookup(masterFile: Array("$TTL 300\n\(Self.zone)\n".utf8))
        lookup.failing = Set(try failing.map { try DomainName($0) })
        let lists = [
            DNSList(
                name: "bl",
                zone: try DomainName("bl.test"),
                weight: 5,
                codes: codes.compactMap { DNSListCode($0) }
            ),
            DNSList(name: "good", zone: try DomainName("good.test"), weight: -5),
        ]
        return await ConnectionFacts(of: [192, 0, 2, last], lists: lists, lookup: lookup)
    }

    private func action(_ text: String, _ facts: ConnectionFacts) throws -> PolicyAction? {
        var mail = PolicyFacts(listener: "smtp", client: [192, 0, 2, 7])
        mail.connection = facts
        return try PolicyParser.table(text, lists: ["bl", "good"]).evaluate(mail).action
    }

    @Test func aListOfGoodHostsThatFailsHasNobodyRefused() async throws {
        let both = try await facts(7)
        #expect(both.lists == ["bl", "good"] && both.unknownLists.isEmpty && both.score == 0)
        let unknown = try await facts(7, failing: ["7.2.0.192.good.test"])
        #expect(unknown.lists == ["bl"] && unknown.unknownLists == ["good"] && unknown.score == 0)
        let bad = try await facts(7, failing: ["7.2.0.192.bl.test"])
        #expect(bad.lists == ["good"] && bad.unknownLists == ["bl"] && bad.score == -5)
        let elsewhere = try await facts(8)
        #expect(elsewhere.lists == ["bl"] && elsewhere.score == 5)
    }

    @Test func whetherAListHasItIsNeitherWithoutAnAnswer() async throws {
        let facts = try await facts(7, failing: ["7.2.0.192.good.test"])
        #expect(try action("junk if listed good", facts) == nil)
        #expect(try action("junk if not listed good", facts) == nil)
        // A failing list never stops mail.
        #expect(try action("reject if not listed good", facts) == nil)
        #expect(try action("junk if listed bl good", facts) == .junk)
        // Whom it might have let in isn't refused for good.
        guard case .defer? = try action("accept if listed good\nreject", facts) else {
            Issue.record("refused for good")
            return
        }
    }

    @Test func answersAreComparedWhole() async throws {
        #expect(try await facts(7, codes: ["2"]).lists.contains("bl"))
        #expect(try await facts(7, codes: ["3-9"]).lists == ["good"])
        #expect(try await facts(8, codes: ["2"]).lists.isEmpty)
        #expect(try await facts(8, codes: ["127.9.*.1-2"]).lists == ["bl"])
        // They say that the list doesn't answer us, or that there is none any more.
        for last: UInt8 in [9, 10] {
            let facts = try await facts(last)
            #expect(facts.lists.isEmpty && facts.unknownLists == ["bl"] && facts.score == 0)
        }
        for wrong in ["", "256", "4-2", "1-2-3", "127.0.0", "127.0.0.0.1", "127.0.0.x", "+2", "-", "1-", "*"] {
            #expect(DNSListCode(wrong) == nil, "\(wrong)")
        }
    }
}
