import Encodings
import MIME
import Testing

private func content(_ header: String) -> ContentFields {
    ContentFields(HeaderBlock(Array("\(header)\r\n\r\n".replacing("\n ", with: "\r\n ").utf8)))
}

private func text(_ octets: some Sequence<UInt8>) -> String { String(decoding: Array(octets), as: UTF8.self) }

private func tree(_ message: String) -> MessagePart {
    var parser = StructureParser()
    Array(message.utf8).withUnsafeBytes { parser.feed($0) }
    return parser.finish()
}

/// Structured fields as people send them (RFC 2045 §5.1, RFC 2183 §2).
@Suite struct FieldRecoveryTests {
    @Test(
        arguments: [
            ("base64;", .base64, "base64"), ("\"base64\"", .base64, "base64"), ("base64 (as usual)", .base64, "base64"),
            ("(as usual) Base64", .base64, "Base64"), ("base64; charset=utf-8", .base64, "base64"),
            ("\" base64 \" ;", .base64, "base64"), ("base64,", .base64, "base64"), ("base64(x(y))", .base64, "base64"),
            ("quoted-printable;", .quotedPrintable, "quoted-printable"),
            ("\"Quoted-Printable\"", .quotedPrintable, "Quoted-Printable"), ("8bit;", .identity, "8bit"),
            ("base64 x", .base64, "base64"), ("", .identity, ""), ("(base64)", .identity, "(base64)"),
            ("\"base64", .base64, "base64"),
        ] as [(String, TransferDecoder.Encoding, String)]
    )
    func encodings(field: String, encoding: TransferDecoder.Encoding, word: String) {
        let content = content("Content-Transfer-Encoding: \(field)")
        #expect(content.encoding == encoding && content.transferEncoding.map { text($0) } == word)
    }

    @Test(
        arguments: [
            ("text/plain; charset=utf-8", false), ("text/plain (a); charset=(b)utf-8 (c);", false),
            ("text/plain; name=Plan (4).pdf", false), ("text/plain; charset=\"utf-8", true),
            ("text/plain; name=\"a \"b\" c\"", true), ("text/plain; name=\"a\\\"b\"", false),
            ("text/plain charset=utf-8", true), ("\"text/plain\"", true),
            ("text/plain, charset=utf-8", true), ("text/plain; utf-8", true), ("text/plain: charset=utf-8", true),
        ]
    )
    func whatIsWrittenWronglyIsReported(type: String, isMalformed: Bool) {
        #expect(content("Content-Type: \(type)").hasMalformedField == isMalformed)
        #expect(tree("Content-Type: \(type)\r\n\r\n").defects.contains(.malformedField) == isMalformed)
    }

    @Test(arguments: ["base64;", "\"base64\"", "base64 x"]) func wrongEncodingsAreReported(field: String) {
        #expect(tree("Content-Transfer-Encoding: \(field)\r\n\r\n").defects == .malformedField)
        #expect(tree("Content-Transfer-Encoding: base64 (\(field))\r\n\r\n").defects == [])
    }

    @Test(
        arguments: [
            ("multipart/mixed\n boundary=\"b\"", ["boundary=b"]), ("multipart/mixed boundary=b", ["boundary=b"]),
            ("text/plain; charset=\"utf-8\" name=\"a b.txt\"", ["charset=utf-8", "name=a b.txt"]),
            ("text/plain; charset=utf-8\n name=a b.txt", ["charset=utf-8", "name=a b.txt"]),
            ("text/plain charset=utf-8 format=flowed delsp=yes", ["charset=utf-8", "format=flowed", "delsp=yes"]),
            ("text/plain, charset=utf-8, format=flowed", ["charset=utf-8", "format=flowed"]),
            ("text/plain;; charset=utf-8;;", ["charset=utf-8"]), ("text/plain;charset = utf-8", ["charset=utf-8"]),
            ("text/plain; x; charset=utf-8", ["charset=utf-8"]), ("\"text/plain\"; charset=utf-8", ["charset=utf-8"]),
            ("text/plain; charset=utf-8 (a; b); format=flowed", ["charset=utf-8", "format=flowed"]),
            ("text/plain; charset=utf-8(x)", ["charset=utf-8"]), ("multipart/mixed; boundary=a(b)", ["boundary=a(b)"]),
            ("multipart/mixed; boundary=a (b)", ["boundary=a"]),
            ("multipart/mixed; boundary=a=b?c:d/e", ["boundary=a=b?c:d/e"]),
            ("multipart/mixed; boundary=\"b", ["boundary=b"]),
            ("multipart/mixed (boundary=x) boundary=b", ["boundary=b"]),
            ("application/pdf; name=My file size=3; charset=utf-8", ["name=My file", "size=3", "charset=utf-8"]),
            ("application/pdf; name=a.pdf type=b.pdf", ["name=a.pdf", "type=b.pdf"]),
            ("application/pdf; name=My file type=\"b.pdf\"", ["name=My file", "type=b.pdf"]),
            ("multipart/mixed; name=x boundary=b.pdf", ["name=x", "boundary=b.pdf"]),
            ("application/pdf; name=a size=3 filename=c.pdf", ["name=a", "size=3", "filename=c.pdf"]),
            ("application/pdf; name=a type=b.pdf charset = x", ["name=a type=b.pdf", "charset=x"]),
            ("text/plain; name=\"a.pdf; charset=utf-8", ["name=a.pdf", "charset=utf-8"]),
            ("text/plain; x=\"; y=\\\"; boundary=\"b; z=1", ["x=; y=\"; boundary=", "z=1"]),
            ("charset=utf-8", ["charset=utf-8"]), ("text; charset=utf-8", ["charset=utf-8"]),
            ("text/plain; title=a b=c; charset=utf-8", ["title=a b=c", "charset=utf-8"]),
        ] as [(String, [String])]
    )
    func parameters(field: String, wanted: [String]) {
        let type = content("Content-Type: \(field)").type
        #expect(type.parameters.map { "\(text($0.name))=\(text($0.value))" } == wanted)
    }

    @Test(
        arguments: [
            ("text; charset=utf-8", "text/plain"), ("multipart; boundary=b", "multipart/mixed"),
            ("multipart", "text/plain"), ("\"text/html\"; charset=utf-8", "text/html"), ("text/", "text/plain"),
            ("image / png", "image/png"), ("charset=utf-8", "text/plain"), ("/plain", "text/plain"),
        ]
    )
    func types(field: String, wanted: String) {
        #expect(text(content("Content-Type: \(field)").type.value) == wanted)
    }

    @Test(
        arguments: [
            ("Garden (plan 4).pdf", "Garden (plan 4).pdf"), ("Plan (4)", "Plan (4)"), ("(4) plan.pdf", "(4) plan.pdf"),
            ("plan(1).pdf", "plan(1).pdf"), ("plan.pdf (a comment)", "plan.pdf"), ("plan.pdf(1)", "plan.pdf(1)"),
            ("(c) \"plan.pdf\" (d)", "plan.pdf"), ("a (b; c).pdf", "a (b; c).pdf"), ("a :( b.pdf", "a :( b.pdf"),
            ("a [draft] <2>.pdf", "a [draft] <2>.pdf"), ("a, b.pdf", "a, b.pdf"), ("a\n b.pdf", "a b.pdf"),
            ("\"Garden (plan 4).pdf\"", "Garden (plan 4).pdf"), ("\"The \"best\" plan.pdf\"", "The \"best\" plan.pdf"),
            ("\"a\\\"b.pdf\"", "a\"b.pdf"), ("\"a.pdf\" size=3", "a.pdf"), ("\"a.pdf\"", "a.pdf"),
            ("a.pdf size=3", "a.pdf"), ("My file type=A4.pdf", "My file type=A4.pdf"),
            ("My paper size = A4 (2).pdf", "My paper size = A4 (2).pdf"), ("size=A4.pdf", "size=A4.pdf"),
            ("a=b c=d.pdf", "a=b c=d.pdf"), ("x type=a size=b.pdf", "x type=a size=b.pdf"),
            ("\"My file.pdf", "My file.pdf"),
            ("My file.pdf\"", "My file.pdf"), ("Invoice; May 2026.pdf", "Invoice; May 2026.pdf"),
            ("a;b.pdf", "a;b.pdf"),
            ("a.pdf; b.pdf", "a.pdf"), ("a; x=b.pdf", "a"), ("a; b; c.pdf", "a"),
            ("\"C:\\dir\\a.pdf\"", "C:\\dir\\a.pdf"), ("\"a\\\\b\\\"c.pdf\"", "a\\b\"c.pdf"),
            ("=?utf-8?q?a;b.pdf?=", "a;b.pdf"), ("=?utf-8?b?YSA=?= =?utf-8?b?Yi5wZGY=?=", "a b.pdf"),
            ("x (1) (2).tar.gz", "x (1) (2).tar.gz"), ("((.pdf", "((.pdf"), ("\"\"", ""),
        ]
    )
    func fileNames(value: String, name: String) {
        let found = content("Content-Disposition: attachment; filename=\(value); read-date=x")
        #expect(found.fileName == name && found.disposition?.value.isEmpty == false)
        #expect(content("Content-Type: application/pdf; name=\(value)").fileName == name)
    }

    /// What nothing closes, and what may be a parameter or not, is looked at a bounded number of times.
    @Test(
        arguments: [
            "\"", "\\\"", "(", "name=\"", "name=a type=", "name=a; b ", "size=a.b ", "=?a?q?", "x;", "name=\"a\"b",
            "name=(", "a=(\"",
            "\\", "type =", "name = \"\\\" type=",
        ]
    )
    func hostileFieldsTakeLinearTime(piece: String) {
        for start in ["text/plain; name=", "text/plain; name=\"", "text/plain; a="] {
            let field = Array((start + String(repeating: piece, count: 200_000 / piece.utf8.count)).utf8)
            let time = ContinuousClock().measure { _ = ParameterizedValue(field: field) }
            // Quadratic time would be minutes.
            #expect(time < .seconds(5))
        }
    }

    @Test func extendedParameters() {
        #expect(content("Content-Disposition: attachment; filename*=utf-8''a%20(b).pdf").fileName == "a (b).pdf")
        let start = "Content-Type: multipart/mixed; boundary*=utf-8''b%20c\r\n\r\n"
        #expect(tree("\(start)--b c\r\n\r\none\r\n--b c--\r\n").children.count == 1)
    }

    @Test func dispositionsWithoutValues() {
        let found = content("Content-Disposition: filename=\"a.pdf\"")
        #expect(found.fileName == "a.pdf" && found.disposition.map { text($0.value) } == "attachment")
        #expect(content("Content-Disposition: \"inline\"; filename=a").disposition.map { text($0.value) } == "inline")
        #expect(content("Content-Disposition: attachment filename=a.pdf").fileName == "a.pdf")
    }

    @Test(arguments: [1, 69, 70, 71, 200, 201, 512, 998, 1000]) func boundariesOfAnyLength(length: Int) {
        let boundary = String(repeating: "'()+_,-./:=?", count: 100).prefix(length - 1) + "x"
        let root = tree(
            "Content-Type: multipart/mixed; boundary=\"\(boundary)\"\r\n\r\n--\(boundary)\r\n\r\none\r\n--\(boundary)\r\n\r\n"
                + "two\r\n--\(boundary)--\r\n"
        )
        #expect(
            root.children.count == 2
                && root.defects.subtracting(.headerLongLine) == (length > 70 ? .boundaryLength : [])
        )
    }

    @Test func blanksAtABoundarysEnd() {
        for line in ["--b", "--b ", "--b  \t"] {
            let root = tree(
                "Content-Type: multipart/mixed; boundary=\"b \"\r\n\r\n\(line)\r\n\r\none\r\n\(line)\r\n\r\ntwo\r\n"
            )
            #expect(root.children.count == 2)
        }
    }

    @Test(
        arguments: [
            ("a@b.test", ["<a@b.test>"]), ("<a@b.test> c@d.test", ["<a@b.test>", "<c@d.test>"]),
            ("a@b.test, <c@d.test>;e@f.test", ["<a@b.test>", "<c@d.test>", "<e@f.test>"]),
            ("Your message of Monday <a@b.test>", ["<a@b.test>"]),
            ("Message from ann@x.test <a@b.test>", ["<a@b.test>"]),
            ("\"ann@x.test\" <a@b.test>", ["<a@b.test>"]), ("Message from ann@x.test of Monday", []),
            ("<a@b.test", ["<a@b.test>"]), ("<a@b.test <c@d.test>", ["<a@b.test>", "<c@d.test>"]),
            ("a@b.test>", ["<a@b.test>"]),
            ("<a@b.test c@d.test", ["<a@b.test>"]), ("12345", ["<12345>"]), ("one two", []), ("(a@b.test)", []),
            ("<>", []),
            ("a@b@c <d@e.test>", ["<d@e.test>"]), ("<a.\"b c\"@d.test>", ["<a.\"b c\"@d.test>"]),
            ("<a@b. test>", ["<a@b.test>"]),
        ] as [(String, [String])]
    )
    func identifiers(field: String, wanted: [String]) {
        #expect(MessageIdentifiers.list(Array(field.utf8)).map { text($0) } == wanted)
    }

    @Test func identifiersAreLimited() {
        let field = Array(String(repeating: "<a@b> ", count: 50).utf8)
        #expect(MessageIdentifiers.list(field, maximum: 7).count == 7)
        #expect(!MessageIdentifiers.isOne(Array("a@b.test".utf8)))
    }
}

/// RFC 2045 §6.8.
@Suite struct Base64EndTests {
    @Test(
        arguments: [
            ("SGVsbG8uCg== ignored", "Hello.\n", .dataAfterPadding),
            ("SGVsbG8uCg==\r\nSGVsbG8uCg==", "Hello.\n", .dataAfterPadding),
            ("SGVsbG8uCg==", "Hello.\n", []), ("SGVsbG8uCg==\r\n\r\n", "Hello.\n", []),
            ("SGVsbG8uCg===", "Hello.\n", []),
            ("SGVsbG8uCg=", "Hello.\n", []), ("SGVsbG8h=SGVsbG8h", "Hello!Hello!", .strayCharacters),
            ("SGVsbG8hS=GVsbG8h", "Hello!Hello!", .truncated), ("SGVsbG8uCg==%", "Hello.\n", .dataAfterPadding),
        ] as [(String, String, TransferDefects)]
    )
    func paddingEndsTheData(encoded: String, wanted: String, defects: TransferDefects) {
        for size in [1, 3, 100] {
            var decoder = TransferDecoder(.base64)
            var decoded: [UInt8] = []
            for piece in pieces(Array(encoded.utf8), size) { decoder.decode(piece, into: &decoded) }
            decoder.finish(into: &decoded)
            #expect(text(decoded) == wanted && decoder.defects == defects)
        }
    }
}
