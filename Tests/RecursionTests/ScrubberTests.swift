import DNS
import DNSFixtures
import Testing

@testable import Recursion

/// What is taken from an answer, and what isn't, whoever gives it.
struct ScrubberTests {
    private func scrub(
        _ name: String,
        _ type: RecordType = .a,
        bailiwick: String = ".",
        mayFollow: @escaping (DomainName) -> Bool = { _ in true },
        _ change: (DNSMessage) -> DNSMessage
    ) throws -> Outcome? {
        let question = Question(name: try DomainName(name), type: type)
        let scrubber = Scrubber(
            question: question,
            bailiwick: try DomainName(bailiwick),
            mayFollow: mayFollow
        )
        return scrubber.scrub(change(.query(id: 1, question: question)))
    }

    /// MaginotDNS (2023): a forwarder, or who speaks in its name, adds records of names that it wasn't asked for.
    @Test func nothingBesideTheQuestionIsTaken() throws {
        let outcome = try scrub("www.corp.example") { query in
            query.answered(
                answers: [
                    "www.corp.example. 60 A 192.0.2.1", "com. 60 NS ns.evil.example.", "bank.com. 60 A 192.0.2.66",
                ],
                authorities: ["com. 60 NS ns.evil.example."],
                additionals: ["ns.evil.example. 60 A 192.0.2.66"]
            )
        }
        #expect(outcome?.answers.map(\.description) == ["www.corp.example.\t60\tIN\tA\t192.0.2.1"])
        #expect(outcome?.authorities.isEmpty == true)
    }

    @Test func anAliasLeadsOutOnlyWithAnotherQuestion() throws {
        let outcome = try scrub("www.corp.example", mayFollow: { $0.labelCount > 2 }) { query in
            query.answered(answers: ["www.corp.example. 60 CNAME bank.com.", "bank.com. 60 A 192.0.2.66"])
        }
        #expect(outcome?.answers.map(\.type) == [.cname])
        #expect(outcome?.next == (try DomainName("bank.com")))
    }

    @Test func aDenialsStartMustBeInTheBailiwick() throws {
        let outcome = try scrub("x.corp.example", bailiwick: "corp.example") { query in
            query.answered(.nameError, authorities: ["example. 60 SOA . . 1 2 3 4 5"])
        }
        #expect(outcome?.authorities.isEmpty == true)
        #expect(outcome?.lifetime == 0, "without its SOA record a denial isn't kept")
    }

    @Test func aRingOfAliasesIsNoAnswer() throws {
        let outcome = try scrub("a.example") { query in
            query.answered(answers: ["a.example. 60 CNAME b.example.", "b.example. 60 CNAME a.example."])
        }
        #expect(outcome == nil)
    }
}
