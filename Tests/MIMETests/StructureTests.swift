import MIME
import NIOCore
import Testing

@Suite struct StructureTests {
    private static let message = [
        "From: a@b", "Content-Type: multipart/mixed; boundary=\"x\"", "", "preamble", "--x", "", "one", "two", "--x  ",
        "Content-Type: message/rfc822", "", "Subject: inner", "Content-Type: multipart/alternative; boundary=xy", "",
        "--xy", "Content-Type: text/html; charset=utf-8", "", "<p>", "--xy--", "epilogue", "--x", "--x--", "",
    ].joined(separator: "\r\n")

    private func parse(_ text: String, piece: Int = .max, limits: StructureLimits = StructureLimits()) -> MessagePart {
        var parser = StructureParser(limits: limits)
        var rest = ByteBuffer(string: text)
        while let slice = rest.readSlice(length: min(piece, rest.readableBytes)), slice.readableBytes > 0 {
            parser.feed(slice)
        }
        return parser.finish()
    }

    private func octets(_ range: Range<Int>, _ text: String = message) -> String {
        String(decoding: Array(text.utf8)[range], as: UTF8.self)
    }

    @Test(arguments: [1, 2, 3, 7, 64, 100_000]) func partsAreFound(piece: Int) {
        let root = parse(Self.message, piece: piece)
        #expect(root.children.count == 3)
        #expect(octets(root.children[0].body) == "one\r\ntwo")
        #expect(root.children[0].lines == 1)
        #expect(octets(root.children[0].header) == "\r\n")
        #expect(octets(root.header) == "From: a@b\r\nContent-Type: multipart/mixed; boundary=\"x\"\r\n\r\n")
        #expect(root.body == root.header.upperBound..<Self.message.utf8.count)
        let inner = root.children[1].children[0]
        #expect(inner.envelope?.subject == Array("inner".utf8))
        #expect(inner.children.count == 1)
        #expect(root.part([2, 1]).map { octets($0.body) } == "<p>")
        #expect(octets(root.children[1].header) == "Content-Type: message/rfc822\r\n\r\n")
        #expect(root.children[2].body.isEmpty)
        #expect(root.part([4]) == nil)
        #expect(root.part([1, 1]) == nil)
    }

    @Test func aMessageOfOnePart() {
        let root = parse("Subject: x\n\nbody\nmore")
        #expect(root.lines == 1)
        #expect(root.part([1])?.body == 12..<21)
        #expect(root.part([2]) == nil)
        #expect(parse("").body.isEmpty)
        #expect(parse("no header end").header == 0..<0)
    }

    @Test func depthAndPartsAreLimited() {
        var deep = ""
        for level in 0..<1000 { deep += "Content-Type: multipart/mixed; boundary=b\(level)\n\n--b\(level)\n" }
        var depth = 0
        var part = parse(deep)
        while let child = part.children.first {
            part = child
            depth += 1
        }
        #expect(depth < 50)
        let wide = "Content-Type: multipart/mixed; boundary=b\n\n" + String(repeating: "--b\n\n", count: 10_000)
        #expect(parse(wide).children.count < 2000)
        var limits = StructureLimits()
        limits.header = 1000
        let long = "Subject: " + String(repeating: "x", count: 100_000) + "\nTo: a\n\nbody"
        #expect(octets(parse(long, limits: limits).body, long) == "body")
    }
}
