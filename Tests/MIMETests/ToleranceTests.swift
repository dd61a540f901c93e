import MIME
import Testing

private func parse(_ octets: [UInt8]) -> MessagePart {
    var parser = StructureParser()
    octets.withUnsafeBytes { parser.feed($0) }
    return parser.finish()
}

private func text(_ octets: some Sequence<UInt8>) -> String { String(decoding: Array(octets), as: UTF8.self) }

/// What real mail does wrong: each is read as most programs read it.
@Suite struct ToleranceTests {
    private func body(_ part: MessagePart, _ octets: [UInt8]) -> String {
        text(TransferDecoder.decode(octets[part.body], part.content.encoding))
    }

    @Test func bareLineFeeds() {
        let octets = Array(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nSubject: x\n\none\n\n--b\n\ntwo\n--b--\n".utf8
        )
        let root = parse(octets)
        #expect(root.children.map { body($0, octets) } == ["one\n", "two"])
        #expect(root.defects == .bareLineFeed)
    }

    @Test func eightBitHeaders() {
        let octets =
            Array("Subject: gr".utf8) + [0xFC] + Array("n\r\nFrom: J".utf8) + [0xFC] + Array("rgen <a@b>\r\n\r\n".utf8)
        let root = parse(octets)
        #expect(root.envelope?.subject.map { EncodedWords.text($0) } == "grün")
        #expect(AddressListParser.parse(root.envelope?.from ?? [])[0].displayName == "Jürgen")
        #expect(root.defects.contains(.headerNotUTF8))
        #expect(parse(Array("Subject: grün\r\n\r\n".utf8)).defects == [])
    }

    @Test func aMissingFinalBoundary() {
        let octets = Array("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n".utf8)
        let root = parse(octets)
        #expect(root.children.map { body($0, octets) } == ["one", "two\r\n"])
        #expect(root.defects == .noFinalBoundary)
    }

    @Test func boundariesThatBeginOthers() {
        let octets = Array(
            ("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\n"
                + "inner\r\n--bbb\r\n--bb--\r\n--b\r\n\r\nouter\r\n--b--\r\n").utf8
        )
        let root = parse(octets)
        #expect(root.children.count == 2 && root.children[0].children.count == 1)
        #expect(body(root.children[0].children[0], octets) == "inner\r\n--bbb")
        #expect(body(root.children[1], octets) == "outer")
    }

    @Test func base64WithRubbish() {
        let octets = Array("Content-Transfer-Encoding: base64\r\n\r\nSGVs bG8s\r\n*** IHdv\r\ncmxk\r\n".utf8)
        #expect(body(parse(octets), octets) == "Hello, world")
    }

    @Test func encodedWordsCutWithinCharacters() {
        #expect(text(EncodedWords.decode(Array("=?utf-8?b?8J+Y?= =?utf-8?b?gA==?=".utf8))) == "😀")
        #expect(text(EncodedWords.decode(Array("=?gb2312?b?xA==?= =?gb2312?b?47rD?=".utf8))) == "你好")
    }

    @Test(arguments: [
        "multipart/(c)mixed (d (e)); (f) boundary (g) = (h) \"b\" (i)",
        " (x) multipart / mixed(;boundary=c);boundary=\"b\"",
    ]) func commentsEverywhere(type: String) {
        let root = parse(Array("Content-Type: \(type)\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n".utf8))
        #expect(root.children.count == 1)
        #expect(DateTime(field: "(a) Thu (b), 1 (c) Jan (d) 2026 (e) 00:00:00 (f) +0100 (g (h))".utf8)?.offset == 60)
        let list = AddressListParser.parse(Array("(a) Al (b) <(c) al (d) @ (e) x (f) . (g) test (h)> (i)".utf8))
        #expect(list.map(\.mailbox) == [Array("al".utf8)] && list.map(\.host) == [Array("x.test".utf8)])
    }

    @Test func duplicateFields() {
        let root = parse(
            Array("Content-Type: text/html\r\nContent-Type: image/png\r\nSubject: a\r\nSubject: b\r\n\r\n".utf8)
        )
        #expect(root.content.type.value == Array("text/html".utf8) && root.envelope?.subject == Array("a".utf8))
        #expect(root.defects == .repeatedField)
    }

    @Test func nul() {
        let octets = Array("Subject: a\0b\r\n\r\nc\0d\r\n".utf8)
        let root = parse(octets)
        #expect(root.envelope?.subject == Array("a\0b".utf8) && body(root, octets) == "c\0d\r\n")
        #expect(root.defects == .nul)
    }

    @Test func linesOfAMegabyte() {
        let long = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
        let octets =
            Array("Subject: x\r\nX-Long: ".utf8) + long + Array("\r\nTo: a@b\r\n\r\n".utf8) + long
            + Array("\r\nend".utf8)
        let root = parse(octets)
        #expect(root.body.count == long.count + 5 && root.lines == 1)
        #expect(root.defects.contains(.headerTooLong) && root.envelope?.subject == Array("x".utf8))
    }

    /// RFC 5322 §4: blanks before colons, empty folded lines, routes, words with dots and blanks, comments in dates.
    @Test func obsoleteSyntax() {
        let block = HeaderBlock(
            Array("From  : Joe Q. Public <john . q . public @ example . com>\r\nSubject: a\r\n  \r\n b\r\n\r\n".utf8)
        )
        let from = AddressListParser.parse(block.first("from") ?? [])
        #expect(from.map(\.mailbox) == [Array("john.q.public".utf8)] && from.map(\.host) == [Array("example.com".utf8)])
        #expect(from[0].displayName == "Joe Q. Public")
        #expect(text(block.first("subject") ?? []) == "a   b")
        let list = AddressListParser.parse(
            Array("Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example".utf8)
        )
        #expect(list.map(\.host) == [Array("example.net".utf8), Array("test.example".utf8)])
        #expect(list[0].route == Array("@node.test".utf8))
    }
}
