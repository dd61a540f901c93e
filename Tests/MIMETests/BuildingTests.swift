import MIME
import Testing

private func text(_ octets: some Collection<UInt8>) -> String { String(decoding: octets, as: UTF8.self) }

private func parse(_ octets: [UInt8]) -> MessagePart {
    var parser = StructureParser()
    octets.withUnsafeBytes { parser.feed($0) }
    return parser.finish()
}

@Suite struct BuildingTests {
    private func build(_ header: HeaderBuilder, _ body: MIMEEntity, eightBit: Bool = false) throws -> BuiltMessage {
        var state: UInt64 = 1
        let builder = MessageBuilder(allowsEightBit: eightBit) {
            state = state &* 6_364_136_223_846_793_005 &+ 1
            return state
        }
        return try builder.build(header, body)
    }

    private func content(_ part: MessagePart, _ octets: [UInt8]) -> [UInt8] {
        TransferDecoder.decode(octets[part.body], part.content.encoding)
    }

    @Test func whatIsBuiltIsRead() throws {
        let subject = "Grüße, " + String(repeating: "long 日本 ", count: 30)
        let words = "Übergröße = viel\nFrom here \n.\n" + String(repeating: "x", count: 2000)
        let file = noise(5000, seed: 3)
        let name = "Übersicht " + String(repeating: "ü", count: 60) + ".pdf"
        var header = HeaderBuilder()
        try header.add("Subject", text: subject)
        let message = try build(
            header,
            .multipart(
                subtype: "mixed",
                parameters: [:],
                [
                    .multipart(
                        subtype: "alternative",
                        parameters: [:],
                        [.text(subtype: "plain", words), .text(subtype: "html", "<p>hi")]
                    ), .attachment(type: "application/pdf", name: name, file),
                    .message(Array("Subject: inner\r\n\r\nbody\r\n".utf8)),
                ]
            )
        )
        #expect(message.octets.split(separator: 10).allSatisfy { $0.count <= 79 && $0.allSatisfy { $0 < 0x80 } })
        #expect(!message.needsEightBit && !message.needsUTF8)
        let root = parse(message.octets)
        #expect(root.envelope?.subject.map { EncodedWords.text($0) } == subject)
        try #require(root.children.count == 3 && root.children[0].children.count == 2)
        #expect(
            text(content(root.children[0].children[0], message.octets)) == words.replacing("\n", with: "\r\n")
        )
        #expect(text(content(root.children[0].children[1], message.octets)) == "<p>hi")
        let attached = root.children[1]
        #expect(content(attached, message.octets) == file)
        let found = ParameterizedValue.fileName(disposition: attached.content.disposition, type: attached.content.type)
        #expect(found == name)
        #expect(root.children[2].children.first?.envelope?.subject == Array("inner".utf8))
    }

    @Test(arguments: [
        "a@example.org", "Alice <a@example.org>", "\"Doe, John\" <j@example.org>", "\"a b\"@example.org",
        "=?utf-8?q?J=C3=BCrgen?= <j@example.org>", "x@[192.0.2.1]",
        "friends: a@b.example, B <b@b.example>;, c@c.example",
        "empty:;", "one:;, two: a@b;", "\"quote\\\"d \\\\\" <q@example.org>", "\"a..b\"@example.org",
        "jürgen@grün.example",
    ]) func addressesRoundTrip(field: String) throws {
        let list = AddressListParser.parse(Array(field.utf8))
        var header = HeaderBuilder()
        try header.add("To", addresses: list)
        let value = try #require(HeaderBlock(header.octets).first("to"))
        let again = AddressListParser.parse(value)
        #expect(again.map(\.displayName) == list.map(\.displayName))
        #expect(again.map(\.mailbox) == list.map(\.mailbox))
        #expect(again.map(\.host) == list.map(\.host))
        #expect(header.needsUTF8 == field.hasPrefix("jü"))
    }

    @Test func manyAddressesAreFolded() throws {
        let one = ListedAddress(
            name: Array("Somebody".utf8),
            mailbox: Array("somebody".utf8),
            host: Array("a.example".utf8)
        )
        var header = HeaderBuilder()
        try header.add("To", addresses: [ListedAddress](repeating: one, count: 500))
        #expect(header.octets.split(separator: 10).allSatisfy { $0.count <= 79 })
        let value = try #require(HeaderBlock(header.octets).first("to"))
        #expect(AddressListParser.parse(value) == [ListedAddress](repeating: one, count: 500))
    }

    @Test(arguments: ["a\r\nBcc: x@y", "a\nb", "a\rb", "a\0b", "=?utf-8?q?a=0D=0ABcc=3A_x?="]) func nothingIsInjected(
        text: String
    ) {
        var header = HeaderBuilder()
        let octets = Array(text.utf8)
        if !text.hasPrefix("=?") {
            #expect(throws: BuildError.self) { try header.add("Subject", text: text) }
            #expect(throws: BuildError.self) { try header.add("X", words: [octets]) }
            #expect(throws: BuildError.self) { try header.add("X", value: "a/b", parameters: [("c", text)]) }
            #expect(throws: BuildError.self) { try header.add("X\(text)", text: "") }
            #expect(throws: BuildError.self) {
                try header.add("To", addresses: [ListedAddress(name: nil, mailbox: octets, host: [0x61])])
            }
            #expect(throws: BuildError.self) {
                try header.add("To", addresses: [ListedAddress(name: nil, mailbox: [0x61], host: octets)])
            }
        }
        #expect(throws: BuildError.self) {
            try header.add("To", addresses: [ListedAddress(name: octets, mailbox: [0x61], host: [0x61])])
        }
        #expect(header.octets.isEmpty)
    }

    @Test(arguments: [
        ("plain\r\n", false, ContentEncoding.sevenBit), ("", false, .sevenBit), ("ü\r\n", true, .eightBit),
        ("mostly plain text, ü\r\n", false, .quotedPrintable), ("üüüü", false, .base64),
        ("a \r\nbc def ghi", true, .quotedPrintable),
        ("From me to you\r\n", true, .quotedPrintable), ("a\nlone line feed here", true, .quotedPrintable),
    ]) func theEncodingFitsTheContent(text: String, eightBit: Bool, encoding: ContentEncoding) {
        #expect(ContentEncoding(for: Array(text.utf8), isText: true, allowsEightBit: eightBit) == encoding)
    }

    @Test func boundariesAreNotInTheParts() throws {
        // The first two boundaries that these numbers give are taken.
        var header = HeaderBuilder()
        try header.add("Subject", text: "x")
        var calls = 0
        let builder = MessageBuilder {
            calls += 1
            return calls <= 4 ? 7 : 8
        }
        let message = try builder.build(
            header,
            .multipart(subtype: "mixed", parameters: [:], [.text(subtype: "plain", "--=_77\n--=_77--\n")])
        )
        let root = parse(message.octets)
        #expect(calls == 6)
        #expect(root.content.type["boundary"] == Array("=_88".utf8))
        #expect(root.children.count == 1)
    }

    @Test func reports() throws {
        let status =
            "Reporting-MTA: dns; a.example\n\nFinal-Recipient: rfc822; b@b.example\nAction: failed\nStatus: 5.1.1\n"
        let message = try build(
            HeaderBuilder(),
            .report(
                type: "delivery-status",
                text: "Sorry.",
                fields: Array(status.utf8),
                original: Array("Subject: x\n".utf8)
            )
        )
        let root = parse(message.octets)
        #expect(root.content.type["report-type"] == Array("delivery-status".utf8))
        #expect(
            root.children.map { text($0.content.type.value) } == [
                "text/plain", "message/delivery-status", "text/rfc822-headers",
            ]
        )
    }

    @Test(arguments: [
        ("münchen.example", "xn--mnchen-3ya.example"), ("example.org", "example.org"), ("faß.de", "xn--fa-hia.de"),
    ]) func domainsInBothForms(unicode: String, ascii: String) {
        #expect(InternationalDomain.ascii(unicode.utf8).map { text($0) } == ascii)
        #expect(InternationalDomain.unicode(ascii.utf8).map { text($0) } == unicode)
    }

    @Test func domainsThatAreNone() {
        #expect(InternationalDomain.ascii([]) == nil)
        #expect(InternationalDomain.ascii([0x61, 0]) == nil)
        #expect(InternationalDomain.ascii([0xFF, 0xFE]) == nil)
        #expect(InternationalDomain.ascii([UInt8](repeating: 0x61, count: 70)) == nil)
        #expect(InternationalDomain.ascii([UInt8](repeating: 0x61, count: 5000)) == nil)
    }

    @Test func messageIdentifiers() {
        let field = Array("<a@b> (x) <c@\r\n d> junk <> <e@f".utf8)
        #expect(MessageIdentifiers.list(field).map { text($0) } == ["<a@b>", "<c@d>"])
    }

    @Test func bracketsTakeLinearTime() {
        let field = Array(String(repeating: "<@", count: 100_000).utf8)
        #expect(AddressListParser.parse(field).count <= 10_000)
    }

    @Test(arguments: [
        ("<p>Hello <b>wor</b>ld</p><p>two", "Hello world\ntwo"), ("a<br>b<script>x<y</script>c", "a\nbc"),
        ("a<script>if (x</y/ && '</b \"') z<!--</script>b", "ab"), ("a<style>x</ \"</style>b", "ab"),
        ("a &lt;b&gt; &amp; &uuml;&#252;&#xFC;&nope; &", "a <b> & üüü&nope; &"), ("x<!-- <p> -- > -->y", "xy"),
        ("<a href=\"a>b\" title='>'>link</a>", "link"), ("1 < 2", "1 < 2"), ("<style>p{}</style><td>a<td>b", "a b"),
        ("  a \n\n b  ", "a b"), ("a&nbsp;b&shy;c", "a bc"), ("<!DOCTYPE html><html>t", "t"),
        ("&#0;&#x110000;", "\u{FFFD}"),
    ]) func htmlBecomesText(html: String, meaning: String) {
        for size in [1, 3, 1000] {
            var reader = HTMLText()
            var result: [UInt8] = []
            for piece in pieces(Array(html.utf8), size) { reader.feed(piece, into: &result) }
            reader.finish(into: &result)
            #expect(text(result) == meaning)
        }
    }
}
