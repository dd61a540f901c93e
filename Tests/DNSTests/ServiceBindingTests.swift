import Testing

@testable import DNS

/// The words of a record's data, as the master file's lexer gives them.
private func tokens(_ text: String) throws -> [MasterFileToken] {
    var lexer = MasterFileLexer(Array(text.utf8))
    return try lexer.next()?.tokens ?? []
}

private func data(_ text: String, _ type: RecordType = .svcb) throws -> [UInt8] {
    try ResourceRecord.parseData(tokens(text), of: type, origin: DomainName("example.com"))
}

private func octets(_ hexadecimal: String) throws -> [UInt8] {
    try #require(RadixCoding.hexadecimal.decode(hexadecimal.utf8.filter { $0 != 0x20 }))
}

/// The names foo.example.com and foo.example.org.
private let foo = "03666f6f 07 6578616d706c65 03 636f6d 00"
private let fooOrg = "03666f6f 07 6578616d706c65 03 6f7267 00"

/// RFC 9460 appendix D.
struct ServiceBindingTests {
    @Test(arguments: [
        ("0 foo.example.com.", "0000 \(foo)"),
        ("1 .", "0001 00"),
        ("16 foo.example.com. port=53", "0010 \(foo) 0003 0002 0035"),
        ("1 foo.example.com. key667=hello", "0001 \(foo) 029b 0005 68656c6c6f"),
        ("1 foo.example.com. key667=\"hello\\210qoo\"", "0001 \(foo) 029b 0009 68656c6c6fd2716f6f"),
        (
            "1 foo ( ipv6hint=\"2001:db8::1,2001:db8::53:1\" )",
            "0001 \(foo) 0006 0020 20010db8000000000000000000000001 20010db8000000000000000000530001"
        ),
        (
            "1 example.com. ipv6hint=\"2001:db8:122:344::192.0.2.33\"",
            "0001 07 6578616d706c65 03 636f6d 00 0006 0010 20010db801220344 00000000c0000221"
        ),
        (
            "16 foo.example.org. ( alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1 )",
            "0010 \(fooOrg) 0000 0004 00010004 0001 0009 02 6832 05 68332d3139 0004 0004 c0000201"
        ),
        ("16 foo.example.org. alpn=\"f\\\\\\\\oo\\\\,bar,h2\"", "0010 \(fooOrg) 0001 000c 08 665c6f6f2c626172 02 6832"),
        ("16 foo.example.org. alpn=f\\\\\\092oo\\092,bar,h2", "0010 \(fooOrg) 0001 000c 08 665c6f6f2c626172 02 6832"),
    ])
    func wireForm(_ text: String, _ hexadecimal: String) throws {
        let wire = try octets(hexadecimal)
        #expect(try data(text) == wire)
        // What is printed is read as the same again, and so is the generic form.
        let record = try ResourceRecord(name: .root, type: .https, timeToLive: 0, wireData: wire)
        #expect(!record.presentationData.hasPrefix("\\#"))
        #expect(try data(record.presentationData, .https) == wire)
        let generic = String(decoding: RadixCoding.hexadecimal.encode(wire), as: UTF8.self)
        #expect(try data("\\# \(wire.count) \(generic)") == wire)
    }

    @Test(arguments: [
        "key123=abc key123=def", "mandatory", "mandatory=", "alpn", "port", "ipv4hint", "ipv6hint", "ech", "dohpath",
        "no-default-alpn=abc alpn=h2", "no-default-alpn", "mandatory=key123", "mandatory=mandatory",
        "mandatory=key123,key123 key123=abc", "port=65536", "port=x", "ipv4hint=1.2.3", "ipv4hint=1.2.3.4,",
        "ipv6hint=1.2.3.4", "ech=A", "alpn=h2,,h3", "alpn=h2\\\\", "ohttp=x alpn=h2", "key01=x", "key65536=x", "Port=1",
        "\"port=1\"", "port= \"1\"", "alpn=\"h2\"x", "=x",
    ])
    func failures(_ parameters: String) {
        #expect(throws: RecordTextError.self) { try data("1 foo.example.com. \(parameters)") }
    }

    @Test func anAliasHasNoParameters() {
        #expect(throws: RecordTextError.self) { try data("0 foo.example.com. port=53") }
    }

    /// Keys out of order or twice, values of a wrong length, a cut: only those who use the record need to mind (RFC 9460
    /// §2.2), so it passes, and is shown in the generic form.
    @Test(arguments: [
        "0003 0002 0035 0001 0003 02 6832", "0003 0002 0035 0003 0002 0035", "0003 0001 35", "0003 0003 350035",
        "0001 0003 03 6832", "0001 0001 00", "0004 0003 c00002", "0006 0000", "0002 0001 00", "0000 0002 0000",
        "0000 0004 0004 0001", "0000 0003 000100", "0001", "0001 0005 02 6832",
    ])
    func malformedParametersPass(_ hexadecimal: String) throws {
        let wire = try octets("0001 00 \(hexadecimal)")
        let record = try ResourceRecord(name: .root, type: .svcb, timeToLive: 0, wireData: wire)
        #expect(record.presentationData.hasPrefix("\\# \(wire.count) "))
        #expect(try data(record.presentationData) == wire)
        #expect(try DNSMessage(decoding: DNSMessage(id: 1, answers: [record]).encode()).answers == [record])
    }
}

/// RFC 1876.
struct GeographicLocationTests {
    private func wire(_ text: String) throws -> [UInt8] {
        try ResourceRecord.parseData(tokens(text), of: .loc, origin: .root)
    }

    @Test(arguments: [
        // The examples of §4, and what they leave out.
        ("42 21 54 N 71 06 18 W -24m 30m", "00 33 16 13 89172dd0 70be15f0 00988d20"),
        ("42 21 43.952 N 71 5 6.344 W -24m 1m 200m", "00 12 24 13 89170690 70bf2dd8 00988d20"),
        ("52 14 05 N 00 08 50 E 10m", "00 12 16 13 8b3556c8 80081650 00989a68"),
        ("32 7 19 S 116 2 25 E 10m", "00 12 16 13 791b7d28 98e64868 00989a68"),
        ("42 n 71 w 0.00 0 0.01M .5m", ""),
        ("0 N 0 E -100000m", "00 12 16 13 80000000 80000000 00000000"),
    ])
    func wireForm(_ text: String, _ hexadecimal: String) throws {
        guard !hexadecimal.isEmpty else {
            // A fraction needs a digit in front of it.
            #expect(throws: RecordTextError.self) { try wire(text) }
            return
        }
        let expected = try octets(hexadecimal)
        #expect(try wire(text) == expected)
        let record = try ResourceRecord(name: .root, type: .loc, timeToLive: 0, wireData: expected)
        #expect(try wire(record.presentationData) == expected)
    }

    @Test(arguments: [
        "01", "00 a0 16 13 80000000 80000000 00000000", "00 1a 16 13 80000000 80000000 00000000", "00 12",
        "00 12 16 13 00000000 80000000 00000000", "01 12 16 13 80000000 80000000 00000000", "",
    ])
    func whatIsNoLocationIsShownAsOctets(_ hexadecimal: String) throws {
        let data = try octets(hexadecimal)
        let record = try ResourceRecord(name: .root, type: .loc, timeToLive: 0, wireData: data)
        #expect(record.presentationData.hasPrefix("\\# \(data.count)"))
    }
}

struct EDNSPresentationTests {
    @Test(arguments: [
        (3, "6e7331", "NSID: \"ns1\""), (3, "00ff", "NSID: 00FF"), (8, "00011800c00002", "ECS: 192.0.2.0/24/0"),
        (8, "00022000 20010db8", "ECS: 2001:db8::/32/0"), (8, "00", "ECS: 00"),
        (10, "0123456789abcdef", "COOKIE: 0123456789ABCDEF"),
        (11, "", "KEEPALIVE"), (11, "012c", "KEEPALIVE: 30.0 s"), (12, "000000", "PADDING: 3 octets"),
        (15, "0006 626164", "EDE: 6 (DNSSEC Bogus): bad"), (15, "ffff", "EDE: 65535 (Unknown)"), (15, "00", "EDE: 00"),
        (5, "080d", "DAU: 8 13"), (65001, "ab", "OPT65001: AB"),
    ])
    func options(_ code: Int, _ hexadecimal: String, _ text: String) throws {
        let option = EDNS.Option(code: UInt16(code), data: try octets(hexadecimal))
        #expect(option.description == text)
    }

    @Test func record() {
        #expect(EDNS(dnssecOK: true).description == "version 0, flags do, udp 1232")
        #expect(EDNS(payloadSize: 512).description == "version 0, flags, udp 512")
    }
}
