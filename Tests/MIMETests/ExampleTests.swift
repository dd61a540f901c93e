import MIME
import Testing

private func text(_ octets: some Sequence<UInt8>) -> String { String(decoding: Array(octets), as: UTF8.self) }

/// The RFCs' own examples.
@Suite struct ExampleTests {
    /// RFC 2049 appendix A: all kinds of parts in one message.
    @Test func aComplexMultipart() throws {
        let message = """
            MIME-Version: 1.0
            From: Nathaniel Borenstein <nsb@nsb.fv.com>
            To: Ned Freed <ned@innosoft.com>
            Date: Fri, 07 Oct 1994 16:15:05 -0700 (PDT)
            Subject: A multipart example
            Content-Type: multipart/mixed;
                          boundary=unique-boundary-1

            This is the preamble area of a multipart message.
            --unique-boundary-1

              ... Some text appears here ...
            --unique-boundary-1
            Content-type: text/plain; charset=US-ASCII

            This could have been part of the previous part, but
            illustrates explicit versus implicit typing of body parts.
            --unique-boundary-1
            Content-Type: multipart/parallel; boundary=unique-boundary-2

            --unique-boundary-2
            Content-Type: audio/basic
            Content-Transfer-Encoding: base64

            QUJD
            --unique-boundary-2
            Content-Type: image/jpeg
            Content-Transfer-Encoding: base64

            QUJD
            --unique-boundary-2--

            --unique-boundary-1
            Content-type: text/enriched

            This is <bold><italic>enriched.</italic></bold>
            --unique-boundary-1
            Content-Type: message/rfc822

            From: (mailbox in US-ASCII)
            To: (address in US-ASCII)
            Subject: (subject in US-ASCII)
            Content-Type: Text/plain; charset=ISO-8859-1
            Content-Transfer-Encoding: Quoted-printable

              ... Additional text in ISO-8859-1 goes here ...
            --unique-boundary-1--

            """.replacing("\n", with: "\r\n")
        let octets = Array(message.utf8)
        var parser = StructureParser()
        octets.withUnsafeBytes { parser.feed($0) }
        let root = parser.finish()
        #expect(
            root.children.map { text($0.content.type.value) } == [
                "text/plain", "text/plain", "multipart/parallel", "text/enriched", "message/rfc822",
            ]
        )
        #expect(root.children[2].children.map { text($0.content.type.value) } == ["audio/basic", "image/jpeg"])
        #expect(text(octets[root.children[0].body]) == "  ... Some text appears here ...")
        let inner = try #require(root.children[4].children.first)
        #expect(
            inner.content.encoding == .quotedPrintable && inner.envelope?.from == Array("(mailbox in US-ASCII)".utf8)
        )
        #expect(text(octets[inner.body]) == "  ... Additional text in ISO-8859-1 goes here ...")
        #expect(
            root.part([5, 1])?.body == inner.body && root.part([3, 2])?.content.type.value == Array("image/jpeg".utf8)
        )
    }

    @Test(
        arguments: [
            // RFC 5322 appendix A.1.2, A.1.3, A.5, A.6.1 and RFC 6532.
            ("\"Joe Q. Public\" <john.q.public@example.com>", ["Joe Q. Public|john.q.public|example.com"]),
            (
                "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                ["Mary Smith|mary|x.test", "|jdoe|example.org", "Who?|one|y.test"]
            ),
            (
                "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                ["|boss|nil.test", "Giant; \"Big\" Box|sysservices|example.net"]
            ),
            (
                "A Group:Ed Jones <joe@where.test>,joe@where.test,John <jdoe@one.test>;",
                ["|A Group|", "Ed Jones|joe|where.test", "|joe|where.test", "John|jdoe|one.test", "||"]
            ),
            ("Undisclosed recipients:;", ["|Undisclosed recipients|", "||"]),
            (
                "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
                ["Pete|pete|silly.test"]
            ),
            (
                "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
                ["|A Group|", "Chris Jones|c|public.example", "|joe|example.org", "John|jdoe|one.test", "||"]
            ),
            ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", ["|Hidden recipients|", "||"]),
            ("Joe Q. Public <john.q.public@example.com>", ["Joe Q. Public|john.q.public|example.com"]),
            (
                "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
                ["Mary Smith|mary|example.net", "|jdoe|test.example"]
            ),
            ("John Doe <jdoe@machine(comment).  example>", ["John Doe|jdoe|machine.example"]),
            (
                "\"a\\\"b c\"@x.test, x@[192.0.2.1], y@[IPv6:2001:db8::1]",
                ["|a\"b c|x.test", "|x|[192.0.2.1]", "|y|[IPv6:2001:db8::1]"]
            ),
            ("Jürgen <jürgen@grün.example>", ["Jürgen|jürgen|grün.example"]),
        ] as [(String, [String])]
    )
    func addresses(field: String, entries: [String]) {
        let list = AddressListParser.parse(Array(field.utf8))
        let shown = list.map { "\($0.displayName ?? "")|\(text($0.mailbox ?? []))|\(text($0.host ?? []))" }
        #expect(shown == entries)
    }

    @Test(
        arguments: [
            // RFC 5322 §3.3, §4.3, appendix A.
            ("Fri, 21 Nov 1997 09:55:06 -0600", 880_127_706), ("Tue, 1 Jul 2003 10:52:37 +0200", 1_057_049_557),
            (
                "Thu,\r\n          13\r\n            Feb\r\n              1969\r\n          23:32\r\n                   -0330 (Newfoundland Time)",
                -27_723_480
            ),
            ("21 Nov 97 09:55:06 GMT", 880_106_106), ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", nil),
            ("1 Jan 49 00:00 UT", 2_493_072_000), ("1 Jan 50 00:00 UT", -631_152_000),
            ("1 Jan 100 00:00 UT", 946_684_800),
            ("1 Jan 2026 00:00:00 -0000", 1_767_225_600), ("31 Dec 2016 23:59:60 +0000", 1_483_228_800),
            ("1 Jan 2026 00:00:00 EST", 1_767_243_600), ("1 Jan 2026 00:00:00 EDT", 1_767_240_000),
            ("1 Jan 2026 00:00:00 CST", 1_767_247_200), ("1 Jan 2026 00:00:00 CDT", 1_767_243_600),
            ("1 Jan 2026 00:00:00 MST", 1_767_250_800), ("1 Jan 2026 00:00:00 MDT", 1_767_247_200),
            ("1 Jan 2026 00:00:00 PST", 1_767_254_400), ("1 Jan 2026 00:00:00 PDT", 1_767_250_800),
            ("1 Jan 2026 00:00:00 Z", 1_767_225_600), ("1 Jan 2026 00:00:00 A", 1_767_225_600),
            ("1 Jan 2026 00:00:00 Mars", 1_767_225_600), ("1 Jan 2026 00:00:00", 1_767_225_600),
            ("Thu Jan  1 00:00:00 2026", 1_767_225_600), ("Thu Jan  1 00:00:00 EST 2026", 1_767_243_600),
            ("1 January 2026 00:00", 1_767_225_600), ("1-Jan-2026 00:00:00 +0000", 1_767_225_600),
        ] as [(String, Int?)]
    )
    func dates(field: String, seconds: Int?) {
        let unfolded = field.utf8.filter { $0 != 13 && $0 != 10 }
        #expect(DateTime(field: unfolded)?.secondsSince1970 == seconds)
    }

    @Test(arguments: [
        ("<1234@local.machine.example> <3456@example.net>", ["<1234@local.machine.example>", "<3456@example.net>"]),
        ("(a <x@y> \\) b) <c@d>", ["<c@d>"]), ("<\"a>b\"@c>", ["<\"a>b\"@c>"]),
        ("<a@[192.0.2.1]>", ["<a@[192.0.2.1]>"]),
        ("<a@b", ["<a@b>"]), ("<<a@b>", ["<a@b>"]), ("Your message of Friday <a@b>", ["<a@b>"]), ("", []),
    ]) func identifiers(field: String, found: [String]) {
        #expect(MessageIdentifiers.list(Array(field.utf8)).map { text($0) } == found)
    }
}
