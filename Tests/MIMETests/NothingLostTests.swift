import Testing

@testable import MIME

/// The text of all bodies, that outside of parts in brackets, each behind the number of its part.
private func texts(_ message: [UInt8], by size: Int, limits: StructureLimits = StructureLimits()) -> [String] {
    var parser = DecodingParser(limits: limits, toUTF8: true)
    var numbering = PartNumbering()
    var texts: [(number: String, octets: [UInt8], isOutside: Bool)] = []
    func add(_ octets: UnsafeRawBufferPointer, isOutside: Bool) {
        if texts.last?.number != numbering.bodyNumber || texts.last?.isOutside != isOutside {
            texts.append((numbering.bodyNumber, [], isOutside))
        }
        texts[texts.count - 1].octets += octets
    }
    func take(_ event: MessageEvent) {
        numbering.take(event)
        switch event {
        case .body(_, let octets): add(octets, isOutside: false)
        case .outside(_, let octets): add(octets, isOutside: true)
        case .partBegin, .field, .headerEnd, .partEnd: break
        }
    }
    for piece in pieces(message, size) { piece.withUnsafeBytes { parser.feed($0, to: take) } }
    parser.finish(to: take)
    return texts.map { number, octets, isOutside in
        let text = String(decoding: octets, as: UTF8.self)
        return "\(number) \(isOutside ? "[\(text)]" : text)"
    }
}

private func names(_ message: String) -> Set<String> {
    var check = MessageCheck()
    Array(message.utf8).withUnsafeBytes { check.feed($0) }
    func names(_ part: MessagePart) -> Set<String> {
        part.children.reduce(into: Set(part.defects.kinds.map(\.name))) { $0.formUnion(names($1)) }
    }
    return names(check.finish())
}

private let start = "From: a@b.example\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
private let mixed = start + "Content-Type: multipart/mixed; boundary=b\r\n\r\n"

/// Text that people can read is a part's body or outside of the parts, whatever is wrong with the structure.
@Suite struct NothingLostTests {
    @Test(
        arguments: [
            // Multiparts without parts.
            ("\(mixed)only preamble\r\n--b--\r\nrest\r\n", ["1 [only preamblerest\r\n]"], ["no-part"]),
            ("\(mixed)only preamble\r\n", ["1 [only preamble\r\n]"], ["no-part"]),
            ("\(mixed)", [], ["no-part"]),
            ("\(start)Content-Type: multipart/mixed\r\n\r\nwords\r\n", ["1 words\r\n"], ["no-boundary"]),
            (
                "\(mixed)--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\nwords\r\n--b--\r\n", ["1 [words]"],
                ["no-part"]
            ),
            // Messages within that can't be parsed.
            (
                "\(start)Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n",
                ["1 hello"],
                ["encoded-composite"]
            ),
            (
                "\(start)Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n",
                ["1 hello"],
                []
            ),
            ("\(start)Content-Type: message/rfc822\r\n\r\nhello inner\r\n", ["1.1 hello inner\r\n"], ["no-header"]),
            ("\(start)Content-Type: message/rfc822\r\n\r\nhello inner", ["1.1 hello inner"], ["no-header"]),
            ("\(start)Content-Type: message/rfc822\r\n\r\n", [], ["no-header"]),
            (
                "\(mixed)--b\r\nContent-Type: message/global\r\n\r\nSubject: x\r\n\r\ninner\r\n--b--\r\n",
                ["1.1 inner"], []
            ),
            (
                "\(mixed)--b\r\nContent-Type: message/rfc822\r\n\r\ninner\r\nwords\r\n--b--\r\n",
                ["1.1 inner\r\nwords"], ["no-header"]
            ),
            // No header.
            ("just text", ["1 just text"], ["no-header", "no-from", "no-date"]),
            ("just text\r\n", ["1 just text\r\n"], ["no-header", "no-from", "no-date"]),
            (
                "just text\r\n\r\nand more\r\n", ["1 just text\r\n\r\nand more\r\n"],
                ["no-header", "no-from", "no-date"]
            ),
            (
                "one\r\ntwo\r\nNote: three\r\n\r\nfour", ["1 one\r\ntwo\r\nNote: three\r\n\r\nfour"],
                ["no-header", "no-from", "no-date"]
            ),
            (" one\r\n\ttwo\r\n\r\n", ["1  one\r\n\ttwo\r\n\r\n"], ["no-header", "no-from", "no-date"]),
            (
                "Dear Ann: hello\r\nat 10:00 or so\r\n", ["1 Dear Ann: hello\r\nat 10:00 or so\r\n"],
                ["no-header", "no-from", "no-date"]
            ),
            ("\r\nbody\r\n", ["1 body\r\n"], ["no-header", "no-from", "no-date"]),
            (
                "\(mixed)--b\r\ntext at once\r\nand more\r\n--b--\r\n", ["1 text at once\r\nand more"],
                ["header-without-end"]
            ),
            ("\(mixed)--b\r\ntext at once\r\n--b--\r\n", ["1 text at once"], ["header-without-end"]),
            ("\(mixed)--b\r\ntext\r\n\r\n--b--\r\n", ["1 text\r\n"], ["header-without-end"]),
            ("\(mixed)--b\r\n\r\nno header is fine\r\n--b--\r\n", ["1 no header is fine"], []),
            // One line that is no field before the header is that; what an mbox has there is none.
            ("stray\r\n\(start)\r\nbody", ["1 body"], ["no-field"]),
            ("From a@b Thu Jan  1 00:00:00 2026\r\n>From c@d x\r\n\(start)\r\nbody", ["1 body"], ["no-field"]),
            ("\(start)stray one\r\nstray two\r\n\r\nbody", ["1 body"], ["no-field"]),
        ] as [(String, [String], Set<String>)]
    )
    func isRead(message: String, wanted: [String], defects: Set<String>) {
        for size in [1, 2, 7, 10_000] {
            let found = texts(Array(message.utf8), by: size).filter { !$0.hasSuffix(" []") }
            // What is outside of parts that there are is for no one.
            #expect(found == wanted, "\(size)")
        }
        #expect(names(message) == defects)
    }

    /// A line beyond the limit of a header is the body where it can be no field, however it's cut.
    @Test func longTextWithoutHeader() {
        let long = String(repeating: "word ", count: 60_000)
        for message in [long, "first\r\n" + long + "\r\nlast\r\n", long + "\r\n\r\nNote: x\r\n"] {
            for size in [1000, 4096, 1 << 20] { #expect(texts(Array(message.utf8), by: size) == ["1 " + message]) }
        }
        let field = "Subject: " + long + "\r\n\r\nbody"
        for size in [1000, 1 << 20] { #expect(texts(Array(field.utf8), by: size) == ["1 body"]) }
    }

    @Test func linesAndPlacesOfBodiesWithoutHeader() {
        var parser = StructureParser()
        Array("\(mixed)--b\r\none\r\ntwo\r\n--b\r\n\r\none\r\ntwo\r\n--b--\r\n".utf8).withUnsafeBytes {
            parser.feed($0)
        }
        let root = parser.finish()
        #expect(root.children.map(\.lines) == [1, 1] && root.children.map(\.body.count) == [8, 8])
        #expect(
            root.children[0].header.isEmpty && root.children[0].header.lowerBound == root.children[0].body.lowerBound
        )
    }

    /// Whatever lines come, how they're cut changes nothing, and no octet of a body is told twice.
    @Test func linesAtRandom() {
        let lines = [
            "text\r\n", "more text\n", "A: b\r\n", " c\r\n", "\r\n", "--b\r\n", "--b--\r\n", "From x\r\n", "--c\r\n",
            "\r", "-",
            "Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: message/rfc822\r\n", "\n", "x",
            "Content-Type: multipart/digest; boundary=c\r\n", "Dear Ann: x\r\n",
        ]
        for seed in 0..<2000 {
            let choices = noise(Int(2 + seed % 14), seed: UInt64(seed), among: (0..<UInt8(lines.count)).map { $0 })
            let message = Array(choices.map { lines[Int($0)] }.joined().utf8)
            let whole = texts(message, by: message.count)
            for size in [1, 2, 3, 5, 8] { #expect(texts(message, by: size) == whole, "\(seed)") }
            var parser = MessageParser()
            var end = 0
            func take(_ event: MessageEvent) {
                switch event {
                case .body(let start, let octets), .outside(let start, let octets):
                    #expect(start >= end && Array(octets) == Array(message[start..<(start + octets.count)]), "\(seed)")
                    end = start + octets.count
                case .partBegin, .field, .headerEnd, .partEnd: break
                }
            }
            message.withUnsafeBytes { parser.feed($0, to: take) }
            parser.finish(to: take)
            #expect(end <= message.count)
        }
    }

    /// Beyond the limits of the structure there is text too.
    @Test func whatIsTooDeepIsText() {
        var limits = StructureLimits()
        limits.depth = 2
        let message =
            "\(mixed)--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nwords\r\n--c--\r\n--b--\r\n"
        #expect(texts(Array(message.utf8), by: 99, limits: limits) == ["1 --c\r\n\r\nwords\r\n--c--"])
    }
}
