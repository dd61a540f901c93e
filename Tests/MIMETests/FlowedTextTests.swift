import MIME
import Testing

@Suite struct FlowedTextTests {
    private func flow(_ text: String, deletesSpaces: Bool = false, by size: Int = .max) -> String {
        var flowed = FlowedText(deletesSpaces: deletesSpaces)
        var result: [UInt8] = []
        let octets = Array(text.utf8)
        for piece in pieces(octets, min(size, max(1, octets.count))) { flowed.feed(piece, into: &result) }
        flowed.finish(into: &result)
        return String(decoding: result, as: UTF8.self)
    }

    @Test(arguments: [
        // RFC 3676 §4.1: soft lines join, stuffing goes, quotes keep their depth.
        ("one \r\ntwo\r\nthree\r\n", "one two\nthree\n"), (" From here \r\n >no quote\r\n", "From here >no quote\n"),
        ("> a \r\n> b\r\n>> c \r\n>> d\r\ne\r\n", "> a b\n>> c d\ne\n"),
        // §4.5: a change of depth ends the paragraph.
        ("> soft \r\n>> deeper\r\n", "> soft \n>> deeper\n"),
        // §4.3: a signature's separator is neither soft nor joined to.
        ("text \r\n-- \r\nMe \r\nhere\r\n", "text \n-- \nMe here\n"), ("> -- \r\n> Me\r\n", "> -- \n> Me\n"),
        ("--\r\n-- x\r\n--  \r\n", "--\n-- x\n--  \n"),
        ("a\r\n\r\nb", "a\n\nb"), ("no end \r\n", "no end \n"), ("lf \nonly\n", "lf only\n"), ("a\rb \r\nc", "a\rb c"),
        ("two  \r\nblanks", "two  blanks"), (">\r\n> \r\n", "> \n> \n"), ("", ""), (" \r\nx\r\n", "\nx\n"),
    ]) func paragraphsAreJoined(text: String, meaning: String) {
        for size in [1, 2, 3, 1000] { #expect(flow(text, by: size) == meaning, "pieces of \(size)") }
    }

    @Test func spacesAreDeletedWhereTheTypeSaysSo() throws {
        #expect(flow("日本 \r\n語\r\n", deletesSpaces: true) == "日本語\n")
        let yes = ParameterizedValue(field: Array("text/plain; format=Flowed; DelSp=Yes".utf8))
        var flowed = try #require(FlowedText(yes))
        var text: [UInt8] = []
        flowed.feed("a \r\nb".utf8, into: &text)
        flowed.finish(into: &text)
        #expect(String(decoding: text, as: UTF8.self) == "ab")
        #expect(FlowedText(ParameterizedValue(field: Array("text/plain; format=fixed".utf8))) == nil)
        #expect(FlowedText(ParameterizedValue(field: Array("text/html; format=flowed".utf8))) == nil)
    }

    @Test func deepQuotesAreBounded() {
        let text = String(repeating: ">", count: 100_000) + " x\r\n"
        #expect(flow(text).utf8.count < 200)
    }
}
