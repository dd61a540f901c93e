import NIOCore
import POP3
import Testing

@Suite struct MessageTests {
    /// The encoder's output when the message comes in pieces of so many octets.
    private func encode(_ message: String, pieces: Int) -> String {
        var encoder = MessageEncoder()
        var output = ByteBuffer()
        var input = ByteBuffer(string: message)
        while let piece = input.readSlice(length: min(pieces, input.readableBytes)), piece.readableBytes > 0 {
            encoder.encode(piece.readableBytesView, into: &output)
        }
        encoder.finish(into: &output)
        return String(buffer: output)
    }

    @Test(arguments: [
        ("", ".\r\n"),
        ("a\r\n", "a\r\n.\r\n"),
        (".\r\n..\r\nx.\r\n", "..\r\n...\r\nx.\r\n.\r\n"),
        ("a\r\n.b", "a\r\n..b\r\n.\r\n"),
        ("\r\n\r\n", "\r\n\r\n.\r\n"),
    ])
    func dotsAreStuffed(message: String, expected: String) {
        for pieces in [1, 2, 3, 100] { #expect(encode(message, pieces: pieces) == expected) }
    }

    private func top(_ message: String, lines: Int, pieces: Int) -> String {
        var limiter = TopLimiter(lines: lines)
        var input = ByteBuffer(string: message)
        var taken = ByteBuffer()
        while !limiter.isDone, let piece = input.readSlice(length: min(pieces, input.readableBytes)),
            piece.readableBytes > 0
        {
            taken.writeBytes(limiter.limit(piece.readableBytesView))
        }
        return String(buffer: taken)
    }

    @Test(arguments: [
        (0, "A: 1\r\nB: 2\r\n\r\n"), (1, "A: 1\r\nB: 2\r\n\r\none\r\n"),
        (2, "A: 1\r\nB: 2\r\n\r\none\r\n\r\n"), (9, "A: 1\r\nB: 2\r\n\r\none\r\n\r\nthree\r\n"),
    ])
    func topEndsAfterTheLines(lines: Int, expected: String) {
        for pieces in [1, 2, 5, 100] {
            #expect(top("A: 1\r\nB: 2\r\n\r\none\r\n\r\nthree\r\n", lines: lines, pieces: pieces) == expected)
        }
    }

    @Test func topOfAMessageWithoutABody() {
        #expect(top("A: 1\r\n", lines: 3, pieces: 4) == "A: 1\r\n")
    }
}
