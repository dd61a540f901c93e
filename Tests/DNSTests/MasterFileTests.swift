import Testing

@testable import DNS

private func parse(
    _ text: String,
    include: @escaping MasterFile.Include = { _ in .failure(.init(reason: "no such file")) }
) throws -> [String] {
    try MasterFile.parse(Array(text.utf8), file: "zone", origin: DomainName("example.test"), include: include)
        .map { $0.record.description.replacing("\t", with: " ") }
}

struct MasterFileTests {
    @Test func everythingTogether() throws {
        let records = try parse(
            """
            ; a zone
            $TTL 1h
            @   IN SOA ns root ( 2024010101 ; serial
                        1h 15m
                        1w 300 )
                    NS  ns
                    MX 10 mail ; the mail
            ns  60  IN  A 192.0.2.1
                IN 61 AAAA 2001:db8::1
            txt TXT "a;b (c)" d\\;e "x\\"y"
            *.wild CNAME @
            abs.example.net. A 192.0.2.2
            $ORIGIN sub
            a A 192.0.2.3
            unknown TYPE4711 \\# 2 ABCD
            """
        )
        #expect(
            records == [
                "example.test. 3600 IN SOA ns.example.test. root.example.test. 2024010101 3600 900 604800 300",
                "example.test. 3600 IN NS ns.example.test.",
                "example.test. 3600 IN MX 10 mail.example.test.",
                "ns.example.test. 60 IN A 192.0.2.1",
                "ns.example.test. 61 IN AAAA 2001:db8::1",
                "txt.example.test. 3600 IN TXT \"a;b (c)\" \"d;e\" \"x\\\"y\"",
                "*.wild.example.test. 3600 IN CNAME example.test.",
                "abs.example.net. 3600 IN A 192.0.2.2",
                "a.sub.example.test. 3600 IN A 192.0.2.3",
                "unknown.sub.example.test. 3600 IN TYPE4711 \\# 2 ABCD",
            ]
        )
    }

    @Test func timeToLiveComesFromBeforeOrFromTheSOA() throws {
        let records = try parse("@ SOA ns root 1 2 3 4 300\n@ NS ns\na 7 A 10.0.0.1\nb A 10.0.0.2\r\n")
        #expect(records.map { $0.split(separator: " ")[1] } == ["300", "300", "7", "7"])
        #expect(throws: MasterFileError.self) { try parse("a A 10.0.0.1") }
    }

    @Test func include() throws {
        let records = try parse("$TTL 1\na A 10.0.0.1\n$INCLUDE more sub\n A 10.0.0.3\n") { name in
            name == "more" ? .success(Array("b A 10.0.0.2\n".utf8)) : .failure(.init(reason: "no"))
        }
        #expect(
            records == [
                "a.example.test. 1 IN A 10.0.0.1", "b.sub.example.test. 1 IN A 10.0.0.2",
                "a.example.test. 1 IN A 10.0.0.3",
            ]
        )
    }

    @Test func includeLoopEnds() {
        let error = #expect(throws: MasterFileError.self) {
            try parse("$INCLUDE self") { _ in .success(Array("$INCLUDE self".utf8)) }
        }
        #expect(error?.reason.contains("deeper") == true)
    }

    @Test func generate() throws {
        let records = try parse("$TTL 1\n$GENERATE 1-5/2 host-${0,3,d} A 10.0.0.$\n$GENERATE 10-11 $ TXT a\\$${-1,2,x}")
        #expect(
            records == [
                "host-001.example.test. 1 IN A 10.0.0.1", "host-003.example.test. 1 IN A 10.0.0.3",
                "host-005.example.test. 1 IN A 10.0.0.5", "10.example.test. 1 IN TXT \"a$09\"",
                "11.example.test. 1 IN TXT \"a$0a\"",
            ]
        )
    }

    @Test(arguments: [
        ("$TTL 1\na A 10.0.0.1\nb A 10.0.0.256\n", 3, "A: no IPv4 address"),
        ("$TTL 1\n\n; x\na A (10.0.0.1\n", 4, "a ( without its )"),
        ("$TTL 1\na A 10.0.0.1 )\n", 2, "a ) without its ("),
        ("$TTL 1\na TXT \"x\n\"\n", 2, "a quote that isn't closed on its line"),
        ("$TTL 1\n A 10.0.0.1\n", 2, "no owner before this line"),
        ("$TTL x\n", 1, "$TTL needs one period of time"),
        ("$TTL 1\na..b A 10.0.0.1\n", 2, "no domain name (emptyLabel): a..b"),
        ("$TTL 1\na BOGUS 10.0.0.1\n", 2, "unknown type BOGUS"),
        ("$TTL 1\na ANY 10.0.0.1\n", 2, "unknown type ANY"),
        ("$TTL 1\na CH TXT x\n", 2, "only class IN is served"),
        ("$TTL 1\na\n", 2, "no type"),
        ("$FOO 1\n", 1, "unknown directive $FOO"),
        ("$INCLUDE x\n", 1, "can't include x: no such file"),
        (
            "$TTL 1\n$GENERATE 0-99999999 a$ A 10.0.0.1\n", 2,
            "$GENERATE needs FROM-TO[/STEP], an owner, a type and data"
        ),
        ("$TTL 1\n$GENERATE 0-1 a${ A 10.0.0.1\n", 2, "a wrong $ in $GENERATE"),
    ])
    func errors(_ text: String, _ line: Int, _ reason: String) {
        let error = #expect(throws: MasterFileError.self) { try parse(text) }
        #expect(error == MasterFileError(file: "zone", line: line, reason: reason))
    }

    @Test func damagedFilesNeverTrap() throws {
        let text = Array(
            "$TTL 1h\n@ SOA ns root ( 1 2 3 4 5 )\na MX 10 b\n$GENERATE 1-3 x${1,2,x} A 10.0.0.$\nt TXT \"q\\000\"".utf8
        )
        let spice = Array("\n\\\"();$@ \t{}09.".utf8)
        for _ in 0..<20_000 {
            var damaged = text
            for _ in 0..<Int.random(in: 1...4) {
                damaged[Int.random(in: damaged.indices)] = spice.randomElement() ?? 0
            }
            _ = try? MasterFile.parse(damaged, file: "zone", origin: .root) { _ in .failure(.init(reason: "")) }
        }
    }
}
