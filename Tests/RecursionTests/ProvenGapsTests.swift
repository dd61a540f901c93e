import DNS
import DNSFixtures
import Testing

@testable import Recursion

struct ProvenGapsTests {
    private let zone = "example. 300 SOA ns.example. nobody.example. 1 2 3 4 5"

    private func gaps(_ lines: [String], lifetime: UInt32 = 300) throws -> ProvenGaps {
        var gaps = ProvenGaps(limit: 1 << 20)
        for line in lines {
            gaps.keep(
                [try record(line)],
                of: try DomainName("example"),
                start: [try record(zone)],
                lifetime: lifetime,
                now: 1000
            )
        }
        return gaps
    }

    private let lines = [
        "example. 300 NSEC b.example. NS SOA RRSIG NSEC", "b.example. 300 NSEC d.e.example. A RRSIG NSEC",
        "d.e.example. 300 NSEC f.example. MX RRSIG NSEC", "f.example. 300 NSEC *.w.example. NS RRSIG NSEC",
        "*.w.example. 300 NSEC example. TXT RRSIG NSEC",
    ]

    @Test(arguments: [
        ("a.example", RecordType.a, ResponseCode.nameError), ("c.example", .a, .nameError),
        ("x.b.example", .a, .nameError),
        ("b.example", .mx, .noError), ("e.example", .a, .noError), ("x.w.example", .a, .noError),
        ("B.Example", .mx, .noError), ("zz.example", .a, .nameError), ("f.example", .ds, .noError),
    ])
    func whatFollows(name: String, type: RecordType, code: ResponseCode) throws {
        var gaps = try gaps(lines)
        let outcome = try #require(gaps.denial(try DomainName(name), type, within: .root, now: 1100))
        #expect(outcome.code == code)
        #expect(outcome.isDenial && outcome.security == .secure)
        #expect(outcome.authorities.first?.type == .soa)
        #expect(outcome.authorities.contains { $0.type == .nsec })
        #expect(outcome.authorities.allSatisfy { $0.timeToLive <= 200 })
    }

    @Test(arguments: [
        // It exists; a wildcard stands for it; a zone below has it; nothing is known of it.
        ("b.example", RecordType.a), ("x.w.example", .txt), ("www.f.example", .a), ("f.example", .a), ("other", .a),
    ])
    func whatDoesNotFollow(name: String, type: RecordType) throws {
        var gaps = try gaps(lines)
        #expect(gaps.denial(try DomainName(name), type, within: .root, now: 1100) == nil)
    }

    @Test func nothingFollowsFromHalfAProofOrAnOldOne() throws {
        var half = try gaps([lines[1]])
        #expect(half.denial(try DomainName("c.example"), .a, within: .root, now: 1100) == nil)
        #expect(half.denial(try DomainName("b.example"), .mx, within: .root, now: 1100) != nil)
        var old = try gaps(lines)
        #expect(old.denial(try DomainName("c.example"), .a, within: .root, now: 1300) == nil)
    }

    @Test func theNumberOfGapsIsBounded() throws {
        var gaps = ProvenGaps(limit: 4 << 20)
        let start = [try record(zone)]
        let origin = try DomainName("example")
        for number in 0..<3000 {
            let line = "n\(number).example. 300 NSEC n\(number)x.example. A"
            gaps.keep([try record(line)], of: origin, start: start, lifetime: 300, now: 1000)
        }
        #expect(gaps.denial(try DomainName("n5.example"), .mx, within: .root, now: 1001) != nil)
        #expect(gaps.denial(try DomainName("n2500.example"), .mx, within: .root, now: 1001) == nil)
    }
}
