import MIME
import Testing

/// Letters as they follow each other, so many.
private func letters(_ count: Int) -> String {
    String(decoding: (0..<count).map { UInt8(0x61 + $0 % 26) }, as: UTF8.self)
}

/// The addresses of Dominic Sayers' isemail (tests.xml 3.05), but for those with line ends that no field can hold: those that
/// it calls errors are reported, and those that RFC 5322 has a grammar for, also an obsolete one, are fine. Lengths are SMTP's
/// business.
@Suite struct PublicAddressTests {
    static let wrong = [
        "test", "@", "test@", "@io", "@iana.org", ".test@iana.org", "test.@iana.org", "test..iana.org",
        "test_exa-mple.com",
        #"test\@test@iana.org"#, "test@-iana.org", "test@iana-.com", "test@.iana.org", "test@iana.org.",
        "test@iana..com",
        "\"\"\"@iana.org", #""\"@iana.org"#, #"test"@iana.org"#, #""test@iana.org"#, #""test"test@iana.org"#,
        #"test"text"@iana.org"#, #""test""test"@iana.org"#, "\"test\u{0}\"@iana.org", "test@a[255.255.255.255]",
        "((comment)test@iana.org", "test(comment)test@iana.org", "test@iana.org-", "(test@iana.org", "test@(iana.org",
        "test@[1.2.3.4", #""test\"@iana.org"#, #"(comment\)test@iana.org"#, #"test@iana.org(comment\)"#,
        #"test@iana.org(comment\"#, "test@[RFC-5322]-domain-literal]", "test@[RFC-5322-[domain-literal]",
        #"test@[RFC-5322-domain-literal\]"#, #"test@[RFC-5322-domain-literal\"#, "\u{7F}@iana.org", "test@\u{7F}.org",
        "\u{7}@iana.org", "test@\u{7}.org", #""test\©"@iana.org"#,
    ]

    static let fine = [
        "test@io", "test@iana.org", "test@nominet.org.uk", "test@about.museum", "a@iana.org", "test.test@iana.org",
        "!#$%&`*+/=?^`{|}~@iana.org", "123@iana.org", "test@123.com", "\(letters(64))@iana.org",
        "\(letters(65))@iana.org",
        "test@\(letters(64)).com", "test@mason-dixon.com", "test@g--a.com",
        "\(letters(64))@\(letters(63)).\(letters(63)).\(letters(62))",
        "a@\(letters(63)).\(letters(63)).\(letters(63)).\(letters(59)).hij", #""test"@iana.org"#, #"""@iana.org"#,
        #""\a"@iana.org"#, #""\""@iana.org"#, #""\\"@iana.org"#, #""test"."test"@iana.org"#, #""test\ test"@iana.org"#,
        #""test".test@iana.org"#, "\"test\\\u{0}\"@iana.org", "\"\(letters(26)) \(letters(26)) abcdefghj\"@iana.org",
        "\"\(letters(26)) \(letters(26)) abcdefg\\h\"@iana.org", "test@[255.255.255.255]", "test@[255.255.255]",
        "test@[255.255.255.255.255]", "test@[255.255.255.256]", "test@[1111:2222:3333:4444:5555:6666:7777:8888]",
        "test@[IPv6:1111:2222:3333:4444:5555:6666:7777]", "test@[IPv6:1111:2222:3333:4444:5555:6666:7777:8888]",
        "test@[IPv6:1111:2222:3333:4444:5555:6666:7777:888G]", "test@[IPv6:1111:2222:3333:4444:5555:6666::8888]",
        "test@[IPv6::3333:4444:5555:6666:7777:8888]", "test@[IPv6:1111::4444:5555::8888]", "test@[IPv6:::]",
        "test@[IPv6:1111:2222:3333:4444:5555:6666:255.255.255.255]", "test@[IPv6:1::2:]", " test @iana.org",
        "test@ iana .com",
        "test . test@iana.org", "(comment)test@iana.org", "(comment(comment))test@iana.org", "test@(comment)iana.org",
        "test@(comment)[255.255.255.255]", "(comment)\(letters(64))@iana.org", "test@xn--hxajbheg2az3al.xn--jxalpdlp",
        "xn--test@iana.org", "test@[RFC-5322-domain-literal]", "test@[RFC-5322-\\\u{7}-domain-literal]",
        "test@[RFC-5322-\\\t-domain-literal]", #"test@[RFC-5322-\]-domain-literal]"#, "test@[RFC 5322 domain literal]",
        "test@[RFC-5322-domain-literal] (comment)", "\"\u{7F}\"@iana.org", "\"\\\u{7F}\"@iana.org",
        "(\u{7F})test@iana.org",
        "\"\u{7}\"@iana.org", "\"\\\u{7}\"@iana.org", "(\u{7})test@iana.org", "\r\n test@iana.org",
        "\r\n \r\n test@iana.org",
        " \r\n test@iana.org", "test@iana.org\r\n ", "test@iana.org \r\n ", " test@iana.org", "test@iana.org ",
        "test@iana/icann.org", "test.(comment)test@iana.org",
    ]

    private static func isReported(_ address: String) -> Bool {
        var check = MessageCheck()
        let message =
            Array("From: a@b.example\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nTo: ".utf8) + address.utf8
            + Array("\r\n\r\n".utf8)
        message.withUnsafeBytes { check.feed($0) }
        return check.finish().defects.contains(.invalidAddress)
    }

    @Test(arguments: wrong) func wrongOnesAreReported(address: String) { #expect(Self.isReported(address)) }

    @Test(arguments: fine) func othersAreFine(address: String) { #expect(!Self.isReported(address)) }

    /// Groups without members are fine, and what only looks like one isn't.
    @Test func groups() {
        for address in ["Friends:;", "Friends: ;", "A: (none) ;"] { #expect(!Self.isReported(address)) }
        for address in ["Friends:", ":;", "a: b", "Friends: ; x", "Friends:;;"] { #expect(Self.isReported(address)) }
    }
}
