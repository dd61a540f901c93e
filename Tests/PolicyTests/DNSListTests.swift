import DNS
import Logging
import MailAuth
import MailRules
import NIOCore
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

    /// A list that has nobody, or everybody, is none.
    @Test func whatIsNoListIsIgnored() async throws {
        let zone = """
            $TTL 300
            2.0.0.127.bl.test. A 127.0.0.2
            7.2.0.192.bl.test. A 127.0.0.2
            *.wild.test. A 127.0.0.2
            *.sold.test. A 192.0.2.1
            gone.test. TXT "nothing"
            *.blocked.test. A 127.255.255.254

            """
        let lookup = try ZoneLookup(masterFile: Array(zone.utf8))
        let names = ["bl", "wild", "sold", "gone", "blocked"]
        let lists = try names.map { DNSList(name: $0, zone: try DomainName("\($0).test"), weight: 1) }
        var faults: [String: DNSListTrial.Fault] = [:]
        for list in lists {
            if case .failure(let fault)? = await list.trial(lookup) { faults[list.name] = fault }
        }
        #expect(faults == ["wild": .hasEverybody, "sold": .hasEverybody, "gone": .hasNobody])
        #expect(await lists[4].trial(lookup) == nil)
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let trial = DNSListTrial()
        let facts = await ConnectionFacts(of: [192, 0, 2, 7], lists: lists, trial: (trial, logger), lookup: lookup)
        #expect(facts.lists == ["bl"] && facts.score == 1)
        #expect(facts.unknownLists == ["wild", "sold", "gone", "blocked"])
        // What was found is believed for an hour; without an answer it's asked again after a minute.
        let start = NIODeadline.now()
        var silent = lookup
        silent.failing = Set(
            try names.flatMap { ["1.0.0.127.\($0).test", "2.0.0.127.\($0).test"] }.map { try DomainName($0) }
        )
        let fixed = try ZoneLookup(masterFile: Array((zone + "2.0.0.127.gone.test. A 127.0.0.2\n").utf8))
        let faulty: Set<String> = ["wild", "sold", "gone"]
        let steps: [(ZoneLookup, TimeAmount, Set<String>)] = [
            (silent, .minutes(59), faulty), (fixed, .minutes(59), faulty), (silent, .minutes(61), faulty),
            (fixed, .minutes(63), ["wild", "sold"]),
        ]
        for (lookup, after, expected) in steps {
            #expect(await trial.faulty(lists, lookup: lookup, logger: logger, now: start + after) == expected)
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
