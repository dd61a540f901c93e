import MIME
import MailAuth
import Testing

@testable import MailAuth

struct CanonicalizationTests {
    private func body(_ text: String, _ form: Canonicalization, pieces: Int = .max) -> String {
        var canonicalizer = BodyCanonicalizer(form)
        var output: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            Array(rest.prefix(pieces)).withUnsafeBytes { canonicalizer.update($0) { output += $0 } }
            rest = rest.dropFirst(pieces)
        }
        canonicalizer.finish { output += $0 }
        return String(decoding: output, as: UTF8.self)
    }

    /// RFC 6376 §3.4.5.
    @Test func examples() {
        let text = "A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n"
        let header = HeaderBlock(Array(text.utf8))
        let form = { (form: Canonicalization) in
            String(decoding: header.fields.flatMap { form.field($0, in: header.octets) }, as: UTF8.self)
        }
        #expect(form(.relaxed) == "a:X\r\nb:Y Z\r\n")
        #expect(form(.simple) == "A: X\r\nB : Y\t\r\n\tZ  \r\n")
        #expect(body(" C \r\nD \t E\r\n\r\n\r\n", .relaxed) == " C\r\nD E\r\n")
        #expect(body(" C \r\nD \t E\r\n\r\n\r\n", .simple) == " C \r\nD \t E\r\n")
    }

    @Test(arguments: [
        ("", "\r\n", ""), ("\r\n\r\n", "\r\n", ""), ("a", "a\r\n", "a\r\n"), ("a\r\n", "a\r\n", "a\r\n"),
        ("a\nb\n", "a\r\nb\r\n", "a\r\nb\r\n"), ("  \r\n \r\n", "  \r\n \r\n", ""),
        ("\r\n\r\na  b\t\r\n \r\n", "\r\n\r\na  b\t\r\n \r\n", "\r\n\r\na b\r\n"),
        ("a\rb\r\n", "a\rb\r\n", "a\rb\r\n"), ("a\r", "a\r\r\n", "a\r\r\n"), ("a\r\r\n", "a\r\r\n", "a\r\r\n"),
        ("a\r\n\r\n\r\nb\r\n\r\n", "a\r\n\r\n\r\nb\r\n", "a\r\n\r\n\r\nb\r\n"),
    ])
    func bodies(_ text: String, _ simple: String, _ relaxed: String) {
        for pieces in [1, 2, 3, Int.max] {
            #expect(body(text, .simple, pieces: pieces) == simple)
            #expect(body(text, .relaxed, pieces: pieces) == relaxed)
        }
    }

    @Test func emptyLinesTakeNoMemoryOfTheirOwn() {
        var canonicalizer = BodyCanonicalizer(.simple)
        var longest = 0
        var total = 0
        let sink = { (piece: UnsafeRawBufferPointer) in
            longest = max(longest, piece.count)
            total += piece.count
        }
        let lines = [UInt8](repeating: 10, count: 1 << 20)
        lines.withUnsafeBytes { canonicalizer.update($0, sink: sink) }
        #expect(total == 0)
        [UInt8(ascii: "a")].withUnsafeBytes { canonicalizer.update($0, sink: sink) }
        canonicalizer.finish(sink: sink)
        #expect(total == 2 << 20 | 3)
        #expect(longest <= 1 << 15)
    }

    @Test func tagLists() throws {
        let list = try TagList(Array(" a = b ;\r\n c=d e\r\n\tf; g=;".utf8))
        #expect(list.tags.map { String(decoding: $0.name, as: UTF8.self) } == ["a", "c", "g"])
        #expect(text(list["c"]) == "d e\r\n\tf")
        #expect(list["g"] == [])
        #expect(list["A"] == nil)
        #expect(throws: TagListError.duplicateTag(Array("a".utf8))) { try TagList(Array("a=1;b=2;a=3".utf8)) }
        for bad in ["a", "=b", "a=1;;b=2", "1a=2", "a b=c", "a=\u{1}", ";", "a=1; b"] {
            #expect(throws: TagListError.malformed, "\(bad)") { try TagList(Array(bad.utf8)) }
        }
        #expect(try TagList([]).tags.isEmpty)
    }

    @Test func fieldsAreChosenFromTheBottom() {
        let index = FieldIndex(HeaderBlock(Array("A: 1\r\nB: 2\r\na: 3\r\nA: 4\r\n".utf8)))
        let names = ["a", "a", "a", "a", "a", "c", "b"].map { Array($0.utf8) }
        #expect(index.select(names, excluding: nil) == [3, 2, 0, 1])
        #expect(index.select(names, excluding: 2) == [3, 0, 1])
        #expect(index.select(names, excluding: 3) == [2, 0, 1])
        #expect(index.select(names, excluding: 0) == [3, 2, 1])
    }
}
