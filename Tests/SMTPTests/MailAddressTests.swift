import Testing

@testable import SMTP

@Suite struct MailAddressTests {
    @Test(
        arguments: [
            ("alice@example.test", "alice", "example.test"),
            ("a.b+c@example.test", "a.b+c", "example.test"),
            ("!#$%&'*+-/=?^_`{|}~@x", "!#$%&'*+-/=?^_`{|}~", "x"),
            ("\"a b\"@example.test", "a b", "example.test"),
            ("\"a\\\"\\\\b\"@example.test", "a\"\\b", "example.test"),
            ("\"a@b\"@example.test", "a@b", "example.test"),
            ("alice@[192.0.2.1]", "alice", "[192.0.2.1]"),
            ("alice@[IPv6:2001:db8::1]", "alice", "[IPv6:2001:db8::1]"),
            ("alice@[IPv6:::]", "alice", "[IPv6:::]"),
            ("alice@[IPv6:1:2:3:4:5::7]", "alice", "[IPv6:1:2:3:4:5::7]"),
            ("alice@[IPv6:1:2:3:4::192.0.2.1]", "alice", "[IPv6:1:2:3:4::192.0.2.1]"),
            ("\"\"@example.test", "", "example.test"),
            ("alice@[IPv6:::ffff:192.0.2.1]", "alice", "[IPv6:::ffff:192.0.2.1]"),
            ("alice@under_score.example", "alice", "under_score.example"),
            ("alice@xn--bcher-kva.example", "alice", "xn--bcher-kva.example"),
        ]
    )
    func reads(text: String, localPart: String, domain: String) throws {
        let address = try MailAddress(parsing: text.utf8)
        #expect(address.localPart == localPart)
        #expect(address.domain == domain)
        #expect(address.description == text)
        #expect(try MailAddress(localPart: localPart, domain: domain) == address)
    }

    @Test(
        arguments: [
            "", "@", "alice", "alice@", "@example.test", ".alice@x", "alice.@x", "a..b@x", "a b@x", "a@b@c",
            "alice@-x", "alice@x-", "alice@x..y", "alice@.x", "alice@x.", "alice@[192.0.2.256]", "alice@[192.0.2]",
            "alice@[1.2.3.4.5]", "alice@[IPv6:1:2:3:4:5:6:7]", "alice@[IPv6:1::2::3]", "alice@[IPv6:12345::]",
            "alice@[IPv6:1:2:3:4:5:6:7:8:9]", "alice@[IPv6:1.2.3.4::]", "alice@[", "alice@[]", "alice@[1.2.3.4",
            "\"a@x", "alice@[IPv6:1:2:3:4:5:6::8]", "alice@[IPv6:1:2:3:4:5::192.0.2.1]",
            "alice@[IPv6::1]", "alice@[IPv6:1::2:]", "alice@[1:2:3:4:5:6:7:8]", "alice@[x-tag:anything]", "\"\"\"@x",
            "\"a\"b@x", "\"a\u{1}\"@x", "\"a\\", "alice@x y", "alice@x\r\n", "é@x", "a@é",
            "alice@[a\\b:c]", "a(comment)@x",
        ]
    )
    func refuses(text: String) {
        #expect(throws: EnvelopeError.malformedAddress) { try MailAddress(parsing: text.utf8) }
    }

    @Test(arguments: [
        ("ken..ito@x", "ken..ito"), (".ken@x", ".ken"), ("ken.@x", "ken."), ("k...@x", "k..."),
        ("ken.ito@x", "ken.ito"),
    ])
    func irregularDots(text: String, localPart: String) throws {
        let address = try MailAddress(parsing: text.utf8, options: .irregularDots)
        #expect(address.localPart == localPart)
        #expect(address.description == text)
        #expect(try MailAddress(parsing: "\"\(localPart)\"@x".utf8, options: .irregularDots) == address)
    }

    @Test(arguments: [".@x", "..@x", "@x", "a b@x", "a@x..y", "a@.x", "a@.", "a@x.."])
    func otherIrregularitiesAreRefused(text: String) {
        #expect(throws: EnvelopeError.malformedAddress) {
            try MailAddress(parsing: text.utf8, options: .irregularDots)
        }
    }

    @Test func limits() throws {
        let local = String(repeating: "a", count: 64)
        let label = String(repeating: "b", count: 63)
        #expect(try MailAddress(parsing: "\(local)@\(label)".utf8).localPart == local)
        #expect(throws: EnvelopeError.localPartTooLong) { try MailAddress(parsing: "\(local)a@x".utf8) }
        #expect(throws: EnvelopeError.domainTooLong) { try MailAddress(parsing: "a@\(label)b".utf8) }
        let domain = "\(label).\(label).\(label).\(label)"
        #expect(throws: EnvelopeError.pathTooLong) { try MailAddress(parsing: "a@\(domain)".utf8) }
        #expect(throws: EnvelopeError.domainTooLong) { try MailAddress(parsing: "a@\(domain).x".utf8) }
        #expect(throws: EnvelopeError.localPartTooLong) {
            try MailAddress(parsing: ("\"" + String(repeating: " ", count: 100_000)).utf8)
        }
    }

    @Test func domainsCompareWithoutCase() throws {
        let one = try MailAddress(parsing: "Alice@Example.TEST".utf8)
        let other = try MailAddress(parsing: "Alice@example.test".utf8)
        #expect(one == other)
        #expect(Set([one, other]).count == 1)
        #expect(one.lowercasedDomain == "example.test")
        #expect(try one != MailAddress(parsing: "alice@example.test".utf8))
        #expect(try MailAddress(parsing: "\"Alice\"@example.test".utf8) == other)
    }

    @Test func utf8OnlyWhenAskedFor() throws {
        let text = "jörg@bücher.example"
        #expect(throws: EnvelopeError.malformedAddress) { try MailAddress(parsing: text.utf8) }
        let address = try MailAddress(parsing: text.utf8, options: .utf8)
        #expect(address.description == text)
        #expect(address.needsUTF8)
        #expect(throws: EnvelopeError.malformedAddress) {
            try MailAddress(parsing: [0x61, 0xC3, 0x40, 0x78], options: .utf8)
        }
    }

    @Test func joinsOnlyWhatIsGood() {
        #expect(throws: EnvelopeError.self) { try MailAddress(localPart: "a", domain: "x> y") }
        #expect(throws: EnvelopeError.self) { try MailAddress(localPart: "a\r\n", domain: "x") }
        #expect(throws: EnvelopeError.self) { try MailAddress(localPart: "", domain: "") }
    }

    @Test func postmaster() throws {
        #expect(try MailAddress(parsing: "PostMaster@x".utf8).isPostmaster)
        #expect(try !MailAddress(parsing: "postmasters@x".utf8).isPostmaster)
    }
}

@Suite struct PathTests {
    @Test(
        arguments: [
            ("<>", "<>"),
            ("<alice@example.test>", "<alice@example.test>"),
            ("<@one.example,@two.example:alice@example.test>", "<alice@example.test>"),
            ("<\"a>b\"@example.test>", "<\"a>b\"@example.test>"),
        ]
    )
    func reversePaths(text: String, written: String) throws {
        #expect(try ReversePath(parsing: text.utf8).description == written)
    }

    @Test(arguments: ["", "<", ">", "<>x", "alice@x", "<alice@x", "<alice@x>>", "<@a,b:c@d>", "<@a:>", "<@a alice@x>"])
    func refused(text: String) {
        #expect(throws: EnvelopeError.malformedAddress) { try ReversePath(parsing: text.utf8) }
        #expect(throws: EnvelopeError.malformedAddress) { try ForwardPath(parsing: text.utf8) }
    }

    @Test func forwardPaths() throws {
        #expect(try ForwardPath(parsing: "<PostMaster>".utf8) == .postmaster)
        #expect(throws: EnvelopeError.malformedAddress) { try ForwardPath(parsing: "<>".utf8) }
        #expect(throws: EnvelopeError.malformedAddress) { try ForwardPath(parsing: "<alice>".utf8) }
        let route = "<" + String(repeating: "@a,", count: 200) + "@b:alice@x>"
        #expect(throws: EnvelopeError.pathTooLong) { try ForwardPath(parsing: route.utf8) }
    }
}

@Suite struct EnvelopeTests {
    @Test(
        arguments: [
            "<>",
            "<alice@example.test>",
            "<alice@example.test> SIZE=1234 BODY=8BITMIME AUTH=e+3Dmc2@example.test RET=HDRS ENVID=QQ+2B314159 SMTPUTF8",
            "<> BODY=7BIT RET=FULL",
            "<alice@example.test> AUTH=<>",
        ]
    )
    func sendersRoundTrip(text: String) throws {
        #expect(try EnvelopeSender(parsing: text.utf8).description == text)
    }

    @Test(
        arguments: [
            "<bob@example.test>",
            "<bob@example.test> NOTIFY=NEVER",
            "<bob@example.test> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;Bob+2B1@example.test",
        ]
    )
    func recipientsRoundTrip(text: String) throws {
        #expect(try EnvelopeRecipient(parsing: text.utf8).description == text)
    }

    @Test func typedValues() throws {
        let sender = try EnvelopeSender(parsing: "<a@x> size=10 body=8bitmime ret=full envid=a+20b auth=a+3Db".utf8)
        #expect(sender.parameters.size == 10)
        #expect(sender.parameters.body == .eightBitMIME)
        #expect(sender.parameters.ret == .full)
        #expect(sender.parameters.envelopeID == "a b")
        #expect(sender.parameters.auth == "a=b")
        let huge = try EnvelopeSender(parsing: "<a@x> SIZE=99999999999999999999".utf8)
        #expect(huge.parameters.size == .max)
        let recipient = try EnvelopeRecipient(parsing: "<b@x> NOTIFY=failure,DELAY ORCPT=rfc822;b+20c@x".utf8)
        #expect(recipient.parameters.notify == [.failure, .delay])
        #expect(recipient.parameters.originalRecipient == .init(type: "rfc822", address: "b c@x"))
    }

    @Test(
        arguments: [
            ("<a@x> SIZE=", EnvelopeError.malformedParameter("SIZE")),
            ("<a@x> SIZE=1x", .malformedParameter("SIZE")),
            ("<a@x> SIZE=-1", .malformedParameter("SIZE")),
            ("<a@x> SIZE=111111111111111111111", .malformedParameter("SIZE")),
            ("<a@x> SIZE", .malformedParameter("SIZE")),
            ("<a@x> SIZE=1 size=1", .malformedParameter("SIZE")),
            ("<a@x> BODY=9BIT", .malformedParameter("BODY")),
            ("<a@x> RET=NONE", .malformedParameter("RET")),
            ("<a@x> ENVID=a+0Ab", .malformedParameter("ENVID")),
            ("<a@x> ENVID=a+", .malformedParameter("ENVID")),
            ("<a@x> ENVID=a+0", .malformedParameter("ENVID")),
            ("<a@x> ENVID=a=b", .malformedParameter("ENVID")),
            ("<a@x> SMTPUTF8=1", .malformedParameter("SMTPUTF8")),
            ("<a@x> FOO=1", .unknownParameter("FOO")),
            ("<a@x> =1", .malformedParameter("")),
            ("<a@x>SIZE=1", .malformedAddress),
        ]
    )
    func badSenderParameters(text: String, expected: EnvelopeError) {
        #expect(throws: expected) { try EnvelopeSender(parsing: text.utf8) }
    }

    @Test(
        arguments: [
            ("<a@x> NOTIFY=NEVER,SUCCESS", EnvelopeError.malformedParameter("NOTIFY")),
            ("<a@x> NOTIFY=", .malformedParameter("NOTIFY")),
            ("<a@x> NOTIFY=SUCCESS,", .malformedParameter("NOTIFY")),
            ("<a@x> ORCPT=a@x", .malformedParameter("ORCPT")),
            ("<a@x> ORCPT=;a@x", .malformedParameter("ORCPT")),
            ("<a@x> ORCPT=rfc822;", .malformedParameter("ORCPT")),
            ("<a@x> NOTIFY=NEVER NOTIFY=NEVER", .malformedParameter("NOTIFY")),
            ("<a@x> RET=FULL", .unknownParameter("RET")),
            ("<postmaster>", .malformedAddress),
        ]
    )
    func badRecipientParameters(text: String, expected: EnvelopeError) {
        #expect(throws: expected) { try EnvelopeRecipient(parsing: text.utf8) }
    }

    @Test func xtextRoundTripsEveryOctet() {
        let octets = (0...255).map { UInt8($0) }
        #expect(XText.decode(XText.encode(octets).utf8) == octets)
        #expect(XText.encode("a+b=c d".utf8) == "a+2Bb+3Dc+20d")
    }
}
