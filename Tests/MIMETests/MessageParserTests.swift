import Testing

@testable import MIME

/// All that a parser says, with the pieces of a body put together.
private func events(_ text: String, piece: Int = .max, limits: StructureLimits = StructureLimits()) -> [String] {
    var parser = MessageParser(limits: limits)
    var lines: [String] = []
    var run: (kind: String, start: Int, octets: [UInt8])?
    func add(_ kind: String, _ start: Int, _ octets: UnsafeRawBufferPointer) {
        if run?.kind != kind { flush() }
        let before = run ?? (kind, start, [])
        #expect(kind == "outside" || start == before.start + before.octets.count)
        run = (kind, before.start, before.octets + octets)
    }
    func flush() {
        if let run { lines.append("\(run.kind) \(run.start) \(String(decoding: run.octets, as: UTF8.self))") }
        run = nil
    }
    func receive(_ event: MessageEvent) {
        switch event {
        case .body(let start, let octets): return add("body", start, octets)
        case .outside(let start, let octets): return add("outside", start, octets)
        case .partBegin, .field, .headerEnd, .partEnd: flush()
        }
        switch event {
        case .partBegin(let start, let isMessage): lines.append("begin \(start) \(isMessage)")
        case .field(let range, let name, let value):
            lines.append(
                "field \(range) \(String(decoding: name, as: UTF8.self)):\(String(decoding: value, as: UTF8.self))"
            )
        case .headerEnd(let end, _, let content):
            lines.append("header \(end) \(String(decoding: content.type.value, as: UTF8.self))")
        case .partEnd(let body, let count, let defects):
            lines.append("end \(body) \(count) \(defects.kinds.map(\.name))")
        case .body, .outside: break
        }
    }
    let octets = Array(text.utf8)
    octets.withUnsafeBytes { octets in
        var position = 0
        while position < octets.count {
            let end = min(octets.count, position + min(piece, octets.count))
            parser.feed(UnsafeRawBufferPointer(rebasing: octets[position..<end]), to: receive)
            position = end
        }
    }
    parser.finish(to: receive)
    return lines
}

private func defects(_ text: String, limits: StructureLimits = StructureLimits()) -> [String] {
    events(text, limits: limits).compactMap { line in
        line.hasPrefix("end ") && !line.hasSuffix("[]") ? line.drop { $0 != "[" }.description : nil
    }
}

@Suite struct MessageParserTests {
    private static let message = [
        "From: a@b", "Content-Type: multipart/mixed; boundary=\"x\"", "", "preamble", "--x", "", "one", "-two", "--xx",
        "--x  ", "Content-Type: message/rfc822", "", "Subject: inner", "Content-Type: multipart/alternative;",
        " boundary=xy", "", "--xy", "Content-Type: text/html; charset=utf-8", "", "<p>\rx", "", "--xy--", "epilogue",
        "--x", "--x--", "",
    ].joined(separator: "\r\n")

    @Test func eventsInOrder() {
        #expect(
            events("A: b\r\nC:\r\n d\r\n\r\nbody\r\n") == [
                "begin 0 true", "field 0..<6 A: b", "field 6..<14 C:\r\n d", "header 16 text/plain",
                "body 16 body\r\n", "end 16..<22 1 []",
            ]
        )
    }

    @Test func anySplitGivesTheSameEvents() {
        let long = "Subject: x\r\n\r\n" + String(repeating: "a line of text\r\n-a\r\r\n--\n", count: 60)
        for text in [Self.message, Self.message.replacing("\r\n", with: "\n"), long] {
            let whole = events(text)
            for piece in 1...(text.utf8.count > 600 ? 150 : text.utf8.count) {
                #expect(events(text, piece: piece) == whole, "pieces of \(piece)")
            }
        }
    }

    @Test func aBoundaryThatBeginsAnother() {
        let all = events(Self.message)
        #expect(all.contains { $0.hasPrefix("body") && $0.hasSuffix("one\r\n-two\r\n--xx") })
        #expect(all.contains { $0.hasPrefix("body") && $0.hasSuffix(" <p>\rx\r\n") })
    }

    @Test(
        arguments: [
            ("A: b\n\nbody\n", "bare-lf"),
            ("A: b\r\n\r\na\rb\r\n", "bare-cr"),
            ("A: b\r\n\r\na\0b\r\n", "nul"),
            ("A: b\r\n\r\nä\r\n", "8bit-body"),
            ("A: b\r\nno field\r\n\r\n", "no-field"),
            ("A: b\r\n", "header-without-end"),
            ("Subject: b\r\nsubject: c\r\n\r\n", "repeated-field"),
            ("Content-Type: text\r\n\r\n", "invalid-type"),
            ("Content-Type: text/plain; charset=a; charset=b\r\n\r\n", "repeated-parameter"),
            ("Content-Transfer-Encoding: rot13\r\n\r\n", "unknown-encoding"),
            (
                "Content-Type: multipart/mixed; boundary=a\r\nContent-Transfer-Encoding: base64\r\n\r\n--a\r\n\r\n--a--",
                "encoded-composite"
            ),
            ("Content-Type: multipart/mixed\r\n\r\n", "no-boundary"),
            ("Content-Type: multipart/mixed; boundary=a\r\n\r\nb\r\n", "no-part"),
            ("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nb\r\n", "no-final-boundary"),
        ]
    )
    func defectsAreReported(text: String, name: String) {
        #expect(defects(text).contains("[\"\(name)\"]"))
    }

    @Test func noDefectsInAGoodMessage() {
        let good = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nb\r\n--a\r\n\r\n\r\n--a--\r\n"
        #expect(defects(good) == [])
        #expect(defects("Content-Transfer-Encoding: 8bit\r\n\r\nä\r\n") == [])
    }

    @Test func limitsAreReported() {
        var limits = StructureLimits()
        limits.parts = 10
        limits.depth = 3
        limits.fields = 5
        limits.header = 2000
        let wide = "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + String(repeating: "--b\r\n\r\n", count: 100)
        #expect(defects(wide, limits: limits).last?.contains("too-many-parts") == true)
        var deep = ""
        for level in 0..<10 { deep += "Content-Type: multipart/mixed; boundary=b\(level)\r\n\r\n--b\(level)\r\n" }
        #expect(defects(deep, limits: limits).contains { $0.contains("too-deep") })
        let fields = String(repeating: "A: b\r\n", count: 10) + "\r\n"
        #expect(defects(fields, limits: limits) == ["[\"too-many-fields\"]"])
        let long = "Subject: " + String(repeating: "x", count: 5000) + "\r\nA: b\r\n\r\nbody"
        #expect(defects(long, limits: limits) == ["[\"header-line-length\", \"header-too-long\"]"])
        #expect(events(long, limits: limits).contains("body 5019 body"))
        let parameters = "Content-Type: a/b" + (0..<300).map { "; p\($0)=x" }.joined() + "\r\n\r\n"
        limits.header = 100_000
        #expect(defects(parameters, limits: limits).last?.contains("too-many-parameters") == true)
    }

    @Test func aLineOfAMegabyteIsNoDelimiter() {
        let text =
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b"
            + String(repeating: " ", count: 1_000_000) + "\r\n--b--\r\n"
        #expect(events(text, piece: 4096).filter { $0.hasPrefix("begin") }.count == 2)
    }
}

@Suite struct FileNameTests {
    @Test(
        arguments: [
            ("attachment; filename=\"a b.txt\"", "a b.txt"),
            ("attachment; filename*=utf-8'en'%e2%82%ac%20rates", "€ rates"),
            ("attachment; filename*0*=iso-8859-1''%a3; filename*1=\" rates\"", "£ rates"),
            ("attachment; filename=\"=?utf-8?B?4oKs?=.txt\"", "€.txt"),
            ("attachment; filename=plain.txt; filename*=utf-8''better.txt", "better.txt"),
        ]
    )
    func names(field: String, name: String) {
        let content = ContentFields(
            HeaderBlock(Array("Content-Disposition: \(field)\r\n\r\n".utf8)),
            isInDigest: false
        )
        #expect(content.fileName == name)
    }

    @Test(
        arguments: [
            ("../../etc/passwd", "passwd"),
            ("C:\\Windows\\system.ini", "system.ini"),
            ("..", "fallback"),
            ("", "fallback"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("a\u{0}b\u{1B}[31m\n.txt", "ab[31m.txt"),
            ("invoice\u{202E}fdp.exe", "invoicefdp.exe"),
            ("CON.txt", "_CON.txt"),
            ("a;rm $x|`y`.sh", "a_rm _x__y_.sh"),
            ("trailing. . ", "trailing"),
            ("Grüße.pdf", "Grüße.pdf"),
        ]
    )
    func namesAreMadeSafe(name: String, safe: String) {
        #expect(SafeFileName.make(Array(name.utf8), fallback: "fallback") == safe)
    }

    @Test func longNamesKeepTheirExtension() {
        let safe = SafeFileName.make(Array((String(repeating: "ü", count: 300) + ".pdf").utf8), fallback: "x")
        #expect(safe.utf8.count <= 200 && safe.hasSuffix("ü.pdf"))
    }
}
