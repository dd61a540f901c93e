import NIOCore
import Testing

@testable import Milter

@Suite struct MilterHeaderTests {
    private static let usual = "A: 1\nReceived: ours\nB: 2\n  folded\nReceived: theirs\nb:3\n\n"

    private func header(_ text: String = usual) -> MilterHeader {
        MilterHeader(Array(text.replacing("\n", with: "\r\n").utf8), hiding: "received")
    }

    private func text(_ header: MilterHeader, hasBody: Bool = true) -> String {
        let parts = header.parts(limit: 65536, hasBody: hasBody)
        return (String(buffer: parts.added) + "=" + String(buffer: parts.rest)).replacing("\r\n", with: "\n")
    }

    private func shown(_ header: MilterHeader, leadingSpace: Bool = false) -> [String] {
        header.shown(leadingSpace: leadingSpace).map {
            String(decoding: $0.name, as: UTF8.self) + "|" + String(decoding: $0.value, as: UTF8.self)
        }
    }

    @Test func ourFieldIsHidden() {
        #expect(shown(header()) == ["A|1", "B|2\n  folded", "Received|theirs", "b|3"])
        #expect(shown(header(), leadingSpace: true) == ["A| 1", "B| 2\n  folded", "Received| theirs", "b|3"])
        #expect(text(header()) == "A: 1\nReceived: ours\n=B: 2\n  folded\nReceived: theirs\nb:3\n\n")
        #expect(header().first("RECEIVED") == Array("theirs".utf8))
    }

    @Test(
        arguments: [
            ("A: 1\n b\nB: 2\n\n", nil), ("A: 1\njunk\nB: 2\n\n", 5), ("A: 1\r\njunk\r\n\r\n", 6),
            ("junk\nA: 1\n\n", 0),
            ("A: 1\n\njunk\n", nil), ("A: 1", nil), ("A: 1\njunk", 5), ("", nil), ("\n", nil), (" x\nA: 1\n", 0),
        ] as [(String, Int?)]
    )
    func linesThatAreNoFields(_ text: String, _ place: Int?) {
        #expect(MilterHeader.firstOther(in: Array(text.utf8)) == place)
    }

    @Test func adding() {
        var header = header()
        header.add(Array("X".utf8), Array("y".utf8), leadingSpace: false)
        #expect(text(header).hasSuffix("b:3\nX: y\n\n"))
        header.add(Array("X".utf8), Array("\ty\n\tz".utf8), leadingSpace: true)
        #expect(text(header).hasSuffix("X: y\nX:\ty\n\tz\n\n"))
        #expect(header.octetCount == text(header).replacing("\n", with: "\r\n").utf8.count - 1)
    }

    @Test func inserting() {
        for (index, begins) in [
            (0, "X: y\nA: 1\nReceived"), (1, "A: 1\nX: y\nReceived"), (2, "A: 1\nReceived: ours\n=X: y\nB"),
            (3, "A: 1\nReceived: ours\n=B: 2\n  folded\nX: y\nReceived: theirs"),
            (5, "A: 1\nReceived: ours\n=B: 2\n  folded\nReceived: theirs\nb:3\nX: y\n\n"),
            (4_000_000_000, "A: 1\nReceived: ours\n=B: 2\n  folded\nReceived: theirs\nb:3\nX: y\n\n"),
        ] {
            var header = header()
            header.insert(Array("X".utf8), Array("y".utf8), at: index, leadingSpace: false)
            #expect(text(header).hasPrefix(begins), "\(index)")
        }
        // The n-th field is counted anew each time.
        var header = header("Received: ours\nA: 1\n\n")
        for name in ["X", "Y"] { header.insert(Array(name.utf8), [], at: 1, leadingSpace: false) }
        #expect(shown(header) == ["Y|", "X|", "A|1"])
        #expect(text(header).hasPrefix("Received: ours\n=Y"))
    }

    @Test func changing() {
        func changed(_ name: String, _ number: Int, _ value: String) -> [String] {
            var header = header()
            header.change(Array(name.utf8), number, Array(value.utf8), leadingSpace: false)
            #expect(header.octetCount == text(header).replacing("\n", with: "\r\n").utf8.count - 1)
            return shown(header)
        }
        #expect(changed("B", 1, "x") == ["A|1", "B|x", "Received|theirs", "b|3"])
        #expect(changed("B", 0, "x") == ["A|1", "B|x", "Received|theirs", "b|3"])
        #expect(changed("b", 2, "x") == ["A|1", "B|2\n  folded", "Received|theirs", "b|x"])
        #expect(changed("B", 1, "") == ["A|1", "Received|theirs", "b|3"])
        #expect(changed("received", 1, "") == ["A|1", "B|2\n  folded", "b|3"])
        #expect(changed("received", 2, "") == ["A|1", "B|2\n  folded", "Received|theirs", "b|3"])
        #expect(changed("C", 1, "new").last == "C|new")
        #expect(changed("C", 3, "") == shown(header()))
    }

    /// What a milter gives never ends the field or the header before its time.
    @Test func valuesWithLineEnds() {
        for (value, written) in [
            ("a\nb", "X: a\n\tb\n"), ("a\r\n b", "X: a\n b\n"), ("a\n\nb", "X: a\n\tb\n"), ("\n", "X: \n"),
            ("a\n", "X: a\n"), ("", "X: \n"), ("a\n\r\nEvil: x", "X: a\n\tEvil: x\n"),
        ] {
            var header = header("Received: ours\nA: 1\n\n")
            header.add(Array("X".utf8), Array(value.utf8), leadingSpace: false)
            #expect(text(header) == "Received: ours\n=A: 1\n\(written)\n", "\(value)")
        }
    }

    @Test func headersThatLackTheirEnd() {
        var header = header("Received: ours\nA: 1")
        #expect(text(header, hasBody: false) == "Received: ours\n=A: 1")
        #expect(text(header) == "Received: ours\n=A: 1\n\n")
        header.add([0x58], [0x79], leadingSpace: false)
        #expect(text(header, hasBody: false) == "Received: ours\n=A: 1\nX: y\n")
        #expect(text(header) == "Received: ours\n=A: 1\nX: y\n\n")
    }

    @Test func linesThatAreNoField() {
        var header = header("junk\nReceived: ours\nA: 1\nmore junk\nB: 2\n\n")
        #expect(shown(header) == ["A|1", "B|2"])
        header.change(Array("B".utf8), 1, Array("3".utf8), leadingSpace: false)
        #expect(text(header) == "junk\nReceived: ours\n=A: 1\nmore junk\nB: 3\n\n")
        #expect(text(self.header("")) == "=\n")
        #expect(text(self.header("\n")) == "=\n")
        #expect(text(self.header("only junk\n\n")) == "only junk\n=\n")
    }

    @Test func firstPartHasALimit() {
        let parts = header().parts(limit: 10, hasBody: true)
        #expect(String(buffer: parts.added) == "A: 1\r\n")
        #expect(String(buffer: parts.rest).hasPrefix("Received: ours\r\nB: 2"))
    }
}
