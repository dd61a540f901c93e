import MIME
import Testing

private func check(_ message: [UInt8]) -> MessagePart {
    var check = MessageCheck()
    message.withUnsafeBytes { check.feed($0) }
    return check.finish()
}

private func names(_ part: MessagePart) -> Set<String> {
    part.children.reduce(into: Set(part.defects.kinds.map(\.name))) { $0.formUnion(names($1)) }
}

@Suite struct MessageCheckTests {
    private static let start = "From: a@b.example\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"

    @Test(
        arguments: [
            // Wrong or unknown character sets.
            ("Content-Type: text/plain; charset=x-none\r\n\r\nx\r\n", "unknown-charset"),
            (
                "Content-Type: text/plain; charset=euc-jp\r\nContent-Transfer-Encoding: base64\r\n\r\n//8=\r\n",
                "not-in-charset"
            ),
            (
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=FF\r\n",
                "not-in-charset"
            ),
            // Base64 with rubbish, and cut.
            ("Content-Transfer-Encoding: base64\r\n\r\nQUJD*!QUJD\r\n", "encoded-rubbish"),
            ("Content-Transfer-Encoding: base64\r\n\r\nQUJDQ\r\n", "encoded-cut"),
            ("Content-Transfer-Encoding: base64\r\n\r\nQQ==QUJDQUJDQUJDQUJDQUJDQUJD\r\n", "encoded-cut"),
            ("Content-Transfer-Encoding: quoted-printable\r\n\r\na=zz\r\n", "encoded-rubbish"),
            ("Content-Transfer-Encoding: x-uuencode\r\n\r\nnothing\r\n", "damaged-file"),
            ("\r\nbegin 644 x\r\n#0V%T\r\n", "damaged-file"),
            // Fields.
            ("Subject: =?utf-8?q?open\r\n\r\n", "invalid-encoded-word"),
            ("Subject: =?utf-8?q?\(String(repeating: "x", count: 80))?=\r\n\r\n", "invalid-encoded-word"),
            ("Subject: =?x-none?q?a?=\r\n\r\n", "unknown-charset"), ("Message-ID: none\r\n\r\n", "invalid-identifier"),
            ("Message-ID: <a@b> <c@d>\r\n\r\n", "invalid-identifier"), ("To: nobody\r\n\r\n", "invalid-address"),
            ("To: \r\n\r\n", "invalid-address"), ("To: a@b c@d\r\n\r\n", "invalid-address"),
            ("Sender: a@b, c@d\r\n\r\n", "invalid-address"),
            ("Resent-Date: tomorrow\r\n\r\n", "invalid-date"),
            ("To: \(String(repeating: "a@b,", count: 10_001))\r\n\r\n", "too-many-addresses"),
            ("\r\n\(String(repeating: "x", count: 999))\r\n", "body-line-length"),
            ("\r\n\(String(repeating: "x", count: 998))\r\n", nil), ("To: friends: ;\r\nBcc:\r\n\r\n", nil),
            ("Subject: =?utf-8?q?fine?= =?utf-8?b?w6Q=?= =? ?= a=?b\r\n\r\n", nil),
            ("Message-ID: (c) <a.\"b c\"@d>\r\n\r\n", "invalid-identifier"), ("Message-ID: <a@b> (c (d))\r\n\r\n", nil),
        ] as [(String, String?)]
    )
    func faultsAreReported(text: String, name: String?) {
        let found = names(check(Array((Self.start + text).utf8)))
        #expect(
            found.contains(name ?? "") || (name == nil && found.subtracting(["header-line-length"]).isEmpty),
            "\(found)"
        )
    }

    @Test func whatAMessageNeeds() {
        #expect(names(check(Array("Content-Type: text/plain\r\n\r\n".utf8))) == ["no-from", "no-date", "no-version"])
        let authors = "From: a@b, c@d\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n"
        #expect(names(check(Array("\(authors)\r\n".utf8))) == ["no-sender"])
        #expect(names(check(Array("\(authors)Sender: a@b\r\n\r\n".utf8))) == [])
        #expect(names(check(Array("From: a@b\r\nDate: now\r\n\r\n".utf8))) == ["invalid-date"])
    }

    @Test(arguments: [1, 3, 50]) func piecesChangeNothing(size: Int) {
        let text =
            Self.start
            + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
            + "Content-Transfer-Encoding: base64\r\n\r\nw6Q*=\r\n--b\r\n\r\nbegin 644 x\r\n#0V%T\r\nend\r\n--b--\r\n"
        let octets = Array(text.utf8)
        var parser = MessageCheck()
        for piece in pieces(octets, size) { piece.withUnsafeBytes { parser.feed($0) } }
        let root = parser.finish()
        #expect(names(root) == names(check(octets)))
        #expect(root.children[0].defects.kinds.map(\.name) == ["encoded-rubbish"])
        #expect(root.children[1].defects == [])
    }
}

@Suite struct DecodingParserTests {
    private func bodies(_ text: [UInt8], toUTF8: Bool, by size: Int) -> ([String], [Defects]) {
        var parser = DecodingParser(toUTF8: toUTF8)
        var texts: [[UInt8]] = []
        var defects: [Defects] = []
        func take(_ event: MessageEvent) {
            switch event {
            case .headerEnd: texts.append([])
            case .body(_, let octets): texts[texts.count - 1] += octets
            case .partEnd(_, _, let found): defects.append(found)
            case .partBegin, .field, .outside: break
            }
        }
        for piece in pieces(text, size) { piece.withUnsafeBytes { parser.feed($0, to: take) } }
        parser.finish(to: take)
        return (texts.map { String(decoding: $0, as: UTF8.self) }, defects)
    }

    private static let message: [UInt8] = {
        let parts: [(String, [UInt8])] = [
            (
                "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable",
                Array("gr=FCn =\r\nx".utf8)
            ),
            ("Content-Transfer-Encoding: base64", Array("w6TD\r\ntg==".utf8)),
            ("Content-Type: text/plain", [0x67, 0x72, 0xFC, 0x6E]),
            ("Content-Type: text/plain; charset=x-none", Array("grün".utf8)),
            ("Content-Type: text/plain; charset=utf-8", [0x61, 0xFF]),
            ("Content-Type: image/png\r\nContent-Transfer-Encoding: base64", Array("QUJD*".utf8)),
        ]
        var octets = Array("Content-Type: multipart/mixed; boundary=b\r\n\r\n".utf8)
        for (header, body) in parts { octets += Array("--b\r\n\(header)\r\n\r\n".utf8) + body + Array("\r\n".utf8) }
        return octets + Array("--b--\r\n".utf8)
    }()

    @Test(arguments: [1, 2, 5, 10_000]) func bodiesAreDecoded(size: Int) {
        let (texts, defects) = bodies(Self.message, toUTF8: true, by: size)
        #expect(Array(texts.dropFirst()) == ["grün x", "äö", "grün", "grün", "a\u{FFFD}", "ABC"])
        #expect(defects[3].contains(.unknownCharset) && defects[4].contains(.notInCharset))
        #expect(defects[5] == .encodedRubbish)
    }

    @Test func longTextOfNoSetIsTheSameInAnyPieces() {
        let text =
            Array("\r\n".utf8) + noise(50_000, seed: 8, among: Array("abc \n".utf8)) + [0xFC] + Array("tail ü".utf8)
        let whole = bodies(text, toUTF8: true, by: text.count).0
        for size in [1, 1000, 16_384] { #expect(bodies(text, toUTF8: true, by: size).0 == whole) }
        #expect(
            whole == bodies(Array("Content-Type: text/plain; charset=utf-8\r\n".utf8) + text, toUTF8: true, by: 999).0
        )
    }
}
