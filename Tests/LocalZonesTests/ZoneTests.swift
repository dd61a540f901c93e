import DNS
import DNSFixtures
import Testing

@testable import LocalZones

private let text = """
    $TTL 3600
    @ SOA ns root 7 3600 900 604800 300
      NS ns
      MX 10 mail
    ns A 192.0.2.1
    mail A 192.0.2.2
      AAAA 2001:db8::2
    alias CNAME mail
    chain CNAME alias
    out CNAME www.example.net.
    loop1 CNAME loop2
    loop2 CNAME loop1
    * A 192.0.2.9
    *.txt TXT "wild"
    a.b.c A 192.0.2.3
    sub NS ns.sub
    sub NS ns.elsewhere.test.
    sub DS 1 8 2 00
    ns.sub A 192.0.2.4
    old DNAME new
    x.new A 192.0.2.5
    away DNAME example.net.
    """

private func zone(_ text: String = text) throws -> Zone {
    let origin = try DomainName("example.test")
    let records = try MasterFile.parse(Array(text.utf8), file: "zone", origin: origin) { _ in
        .failure(MasterFileIncludeError(reason: "none"))
    }
    return try Zone(origin: origin, file: "zone", records: records)
}

private struct Case: CustomTestStringConvertible, Sendable {
    var name: String
    var type: RecordType
    var code = ResponseCode.noError
    var answers: [String] = []
    var authority: RecordType?
    var next: String?
    var isAuthoritative = true
    var additionals = 0
    var testDescription: String { "\(name) \(type)" }
}

struct ZoneTests {
    @Test(arguments: [
        Case(name: "mail.example.test", type: .a, answers: ["mail.example.test. A 192.0.2.2"]),
        Case(name: "example.test", type: .mx, answers: ["example.test. MX 10 mail.example.test."], additionals: 2),
        Case(name: "mail.example.test", type: .txt, authority: .soa),
        Case(
            name: "alias.example.test",
            type: .a,
            answers: ["alias.example.test. CNAME mail.example.test.", "mail.example.test. A 192.0.2.2"]
        ),
        Case(name: "alias.example.test", type: .cname, answers: ["alias.example.test. CNAME mail.example.test."]),
        Case(
            name: "chain.example.test",
            type: .txt,
            answers: [
                "chain.example.test. CNAME alias.example.test.", "alias.example.test. CNAME mail.example.test.",
            ],
            authority: .soa
        ),
        Case(
            name: "out.example.test",
            type: .a,
            answers: ["out.example.test. CNAME www.example.net."],
            next: "www.example.net"
        ),
        // Wildcards: RFC 4592.
        Case(name: "anything.example.test", type: .a, answers: ["anything.example.test. A 192.0.2.9"]),
        Case(name: "two.labels.example.test", type: .a, answers: ["two.labels.example.test. A 192.0.2.9"]),
        Case(name: "anything.example.test", type: .mx, authority: .soa),
        Case(name: "*.example.test", type: .a, answers: ["*.example.test. A 192.0.2.9"]),
        Case(name: "q.txt.example.test", type: .txt, answers: ["q.txt.example.test. TXT \"wild\""]),
        Case(name: "q.mail.example.test", type: .a, code: .nameError, authority: .soa),
        // An empty name between others exists, and keeps the wildcard away.
        Case(name: "b.c.example.test", type: .a, authority: .soa),
        Case(name: "c.example.test", type: .a, authority: .soa),
        Case(name: "x.c.example.test", type: .a, code: .nameError, authority: .soa),
        Case(name: "txt.example.test", type: .a, authority: .soa),
        // Delegations.
        Case(name: "www.sub.example.test", type: .a, authority: .ns, isAuthoritative: false, additionals: 1),
        Case(name: "sub.example.test", type: .ns, authority: .ns, isAuthoritative: false, additionals: 1),
        Case(name: "ns.sub.example.test", type: .a, authority: .ns, isAuthoritative: false, additionals: 1),
        Case(name: "sub.example.test", type: .ds, answers: ["sub.example.test. DS 1 8 2 00"]),
        // DNAME: RFC 6672.
        Case(
            name: "x.old.example.test",
            type: .a,
            answers: [
                "old.example.test. DNAME new.example.test.", "x.old.example.test. CNAME x.new.example.test.",
                "x.new.example.test. A 192.0.2.5",
            ]
        ),
        Case(name: "old.example.test", type: .a, authority: .soa),
        Case(
            name: "y.away.example.test",
            type: .a,
            answers: ["away.example.test. DNAME example.net.", "y.away.example.test. CNAME y.example.net."],
            next: "y.example.net"
        ),
    ])
    fileprivate func answers(_ expected: Case) throws {
        let answer = try zone().answer(Question(name: DomainName(expected.name), type: expected.type))
        #expect(answer.code == expected.code)
        #expect(answer.answers.map { "\($0.name) \($0.type) \($0.presentationData)" } == expected.answers)
        #expect(answer.authorities.first?.type == expected.authority)
        #expect(try answer.next == expected.next.map { try DomainName($0) })
        #expect(answer.isAuthoritative == expected.isAuthoritative)
        #expect(answer.additionals.count == expected.additionals)
        if expected.authority == .soa { #expect(answer.authorities.first?.timeToLive == 300) }
    }

    @Test func aLoopOfAliasesEnds() throws {
        let answer = try zone().answer(Question(name: DomainName("loop1.example.test"), type: .a))
        #expect(answer.code == .serverFailure)
        // Each of its records once.
        #expect(answer.answers.map(\.name.description) == ["loop1.example.test.", "loop2.example.test."])
    }

    @Test(arguments: [
        ("self CNAME self", "self", 1), ("in CNAME a\na CNAME b\nb CNAME a", "in", 3), ("*.w CNAME x.w", "y.w", 2),
        ("d DNAME e\nx.e CNAME x.d", "x.d", 3),
    ])
    func circles(lines: String, name: String, count: Int) throws {
        let zone = try zone("$TTL 1\n@ SOA a b 1 2 3 4 5\n\(lines)\n")
        let answer = try zone.answer(Question(name: DomainName("\(name).example.test"), type: .a))
        #expect(answer.code == .serverFailure)
        #expect(answer.answers.count == count)
        #expect(Set(answer.answers).count == count)
    }

    /// The time for many records is in proportion to their number.
    @Test(.timeLimit(.minutes(1)), arguments: ["NS", "MX 1"]) func manyHosts(type: String) throws {
        let origin = try DomainName("example.test")
        var nodes = ZoneNodes(origin: origin)
        var set: [ResourceRecord] = []
        for number in 0..<5000 {
            let host = try record("h\(number).example.test. 1 A 10.0.\(number >> 8).\(number & 255)")
            nodes.set([host], .a, at: host.name)
            set.append(try record("example.test. 1 \(type) \(host.name)"))
        }
        let start = try record("example.test. 1 SOA a. b. 1 2 3 4 5")
        nodes.set([start], .soa, at: origin)
        nodes.set(set, type == "NS" ? .ns : .mx, at: origin)
        let zone = Zone(nodes, start: start)
        let question = Question(name: origin, type: type == "NS" ? .ns : .mx)
        let clock = ContinuousClock()
        var count = 0
        let elapsed = clock.measure { count = zone.answer(question).additionals.count }
        #expect(count == 5000)
        #expect(elapsed < .seconds(5))
    }

    @Test func aRedirectionThatGetsTooLong() throws {
        let label = String(repeating: "a", count: 63)
        let long = [label, label, label].joined(separator: ".")
        let zone = try zone("$TTL 1\n@ SOA a b 1 2 3 4 5\nd DNAME \(long).example.test.\n")
        let answer = try zone.answer(Question(name: DomainName("\(label).d.example.test"), type: .a))
        #expect(answer.code == .nameExists)
    }

    @Test(arguments: [
        ("$TTL 1\na A 10.0.0.1\n", 0, "no SOA record at example.test."),
        ("$TTL 1\n@ SOA a b 1 2 3 4 5\n@ SOA a b 2 2 3 4 5\n", 3, "a second SOA"),
        ("$TTL 1\n@ SOA a b 1 2 3 4 5\nx SOA a b 2 2 3 4 5\n", 3, "SOA belongs to the zone's top, example.test."),
        ("$TTL 1\n@ SOA a b 1 2 3 4 5\nx.org. A 10.0.0.1\n", 3, "x.org. is not in the zone example.test."),
        ("$TTL 1\n@ SOA a b 1 2 3 4 5\nx A 10.0.0.1\nx CNAME y\n", 4, "CNAME and A at x.example.test."),
        ("$TTL 1\n@ SOA a b 1 2 3 4 5\nx CNAME y\nx CNAME z\n", 4, "a second CNAME at x.example.test."),
        (
            "$TTL 1\n@ SOA a b 1 2 3 4 5\nx DNAME y\na.x A 10.0.0.1\n", 3,
            "a.x.example.test. lies below the DNAME at x.example.test."
        ),
    ])
    func zonesWithErrors(_ text: String, _ line: Int, _ reason: String) {
        let error = #expect(throws: MasterFileError.self) { try zone(text) }
        #expect(error == MasterFileError(file: "zone", line: line, reason: reason))
    }
}
