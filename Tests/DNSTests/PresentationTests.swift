import Testing

@testable import DNS

/// Words split at blanks, as the master file's lexer gives them.
private func tokens(_ text: String) throws -> [MasterFileToken] {
    var lexer = MasterFileLexer(Array(text.utf8))
    return try lexer.next()?.tokens ?? []
}

struct PresentationTests {
    /// Written, parsed, encoded in a message, decoded and written again.
    @Test(arguments: [
        ("A", "192.0.2.1"), ("AAAA", "2001:db8::1"), ("AAAA", "::"), ("AAAA", "::ffff:0:1:0"),
        ("NS", "ns.example.test."),
        ("CNAME", "."), ("DNAME", "example.net."), ("PTR", "mail.example.test."), ("MX", "10 mail.example.test."),
        ("MX", "0 ."), ("TXT", "\"v=spf1 -all\" \"\" \"a\\\"b\\\\c\\000\\255\""),
        ("SOA", "ns.example.test. root.example.test. 4294967295 3600 900 604800 300"),
        ("SRV", "1 2 65535 host.example.test."),
        ("NAPTR", "100 50 \"s\" \"http+I2L+I2C+I2R\" \"\" _http._tcp.example.test."),
        ("CAA", "0 issue \"ca.example.net; policy=ev\""), ("TLSA", "3 1 1 00FF10"), ("SMIMEA", "3 0 0 AB"),
        ("SSHFP", "4 2 123456"), ("DS", "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"),
        ("DNSKEY", "256 3 5 AQPSKmynfw=="), ("CDNSKEY", "0 3 0 AA=="), ("CDS", "0 0 0 00"),
        ("RRSIG", "A 5 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WNGg=="),
        ("NSEC", "host.example.com. A MX RRSIG NSEC TYPE1234"),
        ("NSEC3", "1 1 12 AABBCCDD 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR NS SOA MX RRSIG DNSKEY NSEC3PARAM"),
        ("NSEC3", "1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR"), ("NSEC3PARAM", "1 0 0 -"), ("OPENPGPKEY", "AAEC"),
        ("HINFO", "\"PC\" \"Linux\""), ("RP", "root.example.test. txt.example.test."),
        ("URI", "10 1 \"https://example.test/\""), ("TYPE4711", "\\# 3 010203"), ("TYPE4711", "\\# 0"),
        ("SPF", "\"x\""), ("LOC", "42 21 28.764 N 71 0 51.617 W -44.00m 2000m 10000m 10m"),
        ("LOC", "90 0 0.000 S 180 0 0.000 E 42849672.95m 0.09m 0m 90000000m"), ("SVCB", "0 example.test."),
        ("SVCB", "1 . mandatory=alpn,port alpn=\"h2,h3\" no-default-alpn port=8443"),
        ("HTTPS", "1 . alpn=\"h2\" ipv4hint=192.0.2.1,192.0.2.2 ech=AEX+ ipv6hint=2001:db8::1"),
        ("SVCB", "1 dns.example.test. alpn=\"dot\" dohpath=\"/dns-query{?dns}\" ohttp key65000=\"\\000 \\\\\""),
        ("AFSDB", "1 afs.example.test."), ("KX", "10 kx.example.test."), ("MINFO", "a.test. b.test."),
        ("CERT", "1 12345 8 AAEC"), ("DHCID", "AAEC"), ("CSYNC", "66 3 A NS AAAA"), ("ZONEMD", "2018031500 1 1 FEBE"),
        ("PX", "1 a.test. b.test."), ("APL", "\\# 8 00010402C0000280"), ("EUI48", "\\# 6 00005E00532A"),
    ])
    func roundTrip(_ type: String, _ text: String) throws {
        let type = try #require(RecordType(mnemonic: Array(type.utf8)))
        let data = try ResourceRecord.parseData(tokens(text), of: type, origin: .root)
        let record = try ResourceRecord(name: DomainName("x.test"), type: type, timeToLive: 5, wireData: data)
        #expect(record.presentationData == text)
        var message = DNSMessage(id: 0)
        message.answers = [record]
        #expect(try DNSMessage(decoding: message.encode()).answers == [record])
    }

    @Test(arguments: [
        ("A", "192.0.2"), ("A", "192.0.2.256"), ("A", "192.0.2.01"), ("A", "1.2.3.4 5"), ("A", ""), ("AAAA", ":::"),
        ("AAAA", "1:2:3:4:5:6:7"), ("AAAA", "1::2::3"), ("AAAA", "12345::"), ("AAAA", "1:2:3:4:5:6:7:8:9"),
        ("MX", "65536 a."), ("MX", "10"), ("MX", "10 a..b"), ("TLSA", "3 1 1 0"), ("TLSA", "3 1 1 0g"), ("TXT", ""),
        ("TXT", "\\25"), ("DNSKEY", "1 3 5 A"), ("DNSKEY", "1 3 5 AB=="),
        ("RRSIG", "A 5 3 1 20031322173103 0 0 . AA=="),
        ("TYPE4711", "abc"), ("TYPE4711", "\\# 2 01"), ("A", "\\# 3 010203"), ("NSEC3PARAM", "1 0 0 zz"),
        ("SOA", ". . 1 2 3 4 -1"), ("NSEC", "a. NOTYPE"),
        ("CAA", "0 is\\sue \"x\""), ("CAA", "0 \"\" \"x\""), ("LOC", "91 N 0 E 0m"), ("LOC", "90 0 0.001 N 0 E 0"),
        ("LOC", "1 60 N 0 E 0m"), ("LOC", "1 1 60 N 0 E 0m"), ("LOC", "1 1 1 1 N 0 E 0m"), ("LOC", "1 N 181 W 0m"),
        ("LOC", "N 1 E 0m"), ("LOC", "1 E 1 N 0m"), ("LOC", "1 N 1 E"), ("LOC", "1 N 1 E 0.001m"),
        ("LOC", "-1 N 1 E 0"),
        ("LOC", "1 N 1 E -100001m"), ("LOC", "1 N 1 E 0 90000001m"), ("LOC", "1 N 1 E 0 -1m"),
        ("LOC", "1 N 1 E 0 1 1 1 1"),
        ("LOC", "1.5 N 1 E 0m"), ("LOC", "1 1 1.2345 N 1 E 0m"), ("APL", "1:192.0.2.0/24"),
    ])
    func malformed(_ type: String, _ text: String) throws {
        let type = try #require(RecordType(mnemonic: Array(type.utf8)))
        #expect(throws: RecordTextError.self) {
            try ResourceRecord.parseData(tokens(text), of: type, origin: .root)
        }
    }

    @Test func genericFormOfAKnownType() throws {
        let data = try ResourceRecord.parseData(tokens("\\# 4 C000 0201"), of: .a, origin: .root)
        #expect(data == [192, 0, 2, 1])
    }

    @Test func relativeNamesInData() throws {
        let origin = try DomainName("example.test")
        let data = try ResourceRecord.parseData(tokens("10 mail"), of: .mx, origin: origin)
        #expect(try data == [0, 10] + DomainName("mail.example.test").wire)
    }

    @Test func tooLongTextIsRefused() throws {
        let long = String(repeating: "a", count: 256)
        #expect(throws: RecordTextError.self) {
            try ResourceRecord.parseData(tokens("\"\(long)\""), of: .txt, origin: .root)
        }
    }

    @Test(arguments: [("0", 0), ("3600", 3600), ("1h", 3600), ("1H30m", 5400), ("2w1d", 1_296_000), ("1m5", 65)])
    func periods(_ text: String, _ seconds: UInt32) {
        #expect(Period.parse(Array(text.utf8)) == seconds)
    }

    @Test(arguments: ["", "h", "1x", "2147483648", "99999999999w", "-1"])
    func noPeriods(_ text: String) {
        #expect(Period.parse(Array(text.utf8)) == nil)
    }

    @Test func moments() {
        for seconds: UInt32 in [0, 1, 951_782_399, 951_782_400, 1_709_164_800, 4_102_444_800, .max] {
            #expect(Moment.parse(Array(Moment.print(seconds).utf8)) == seconds)
        }
        #expect(Moment.print(1_048_354_263) == "20030322173103")
    }
}
