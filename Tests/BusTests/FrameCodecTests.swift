import Bus
import NIOCore
import Testing

@Suite struct FrameCodecTests {
    private func parse(_ text: String, limits: FrameLimits = FrameLimits()) throws -> [Frame] {
        var parser = FrameParser(limits: limits)
        var buffer = ByteBuffer(string: text)
        var frames: [Frame] = []
        while let frame = try parser.next(from: &buffer) { frames.append(frame) }
        return frames
    }

    @Test func framesRoundTrip() throws {
        let frames = [
            Frame("PING"),
            Frame("SUBMIT", ["sender": "<>", "recipient": "<a@b>", "recipient": "<c@d> NOTIFY=NEVER"]),
            Frame("DATA", [:], body: ByteBuffer(string: "a\n\nb")),
            Frame("TEXT", ["text": "100% of\r\nlines\u{0} and ünïcode"]),
            Frame("DATA", [:], body: ByteBuffer()),
        ]
        var buffer = ByteBuffer()
        for frame in frames { buffer.writeFrame(frame) }
        var parser = FrameParser()
        for frame in frames { #expect(try parser.next(from: &buffer) == frame) }
        #expect(buffer.readableBytes == 0)
    }

    @Test func everySplitGivesTheSameFrames() throws {
        let text = "DELIVER\r\ntag: 1\r\nsender: <>\r\n\r\nDATA\nsize: 5\n\nab\n\ncEND\n\n"
        let whole = try parse(text)
        #expect(whole.map(\.verb) == ["DELIVER", "DATA", "END"])
        for split in 1..<text.utf8.count {
            var parser = FrameParser()
            var frames: [Frame] = []
            var buffer = ByteBuffer()
            for part in [text.utf8.prefix(split), text.utf8.dropFirst(split)] {
                buffer.writeBytes(part)
                while let frame = try parser.next(from: &buffer) { frames.append(frame) }
            }
            #expect(frames == whole, "split at \(split)")
        }
    }

    @Test(arguments: [
        ("lower\n\n", FrameError.malformedVerb), ("\n\n", .malformedVerb), ("A B\n\n", .malformedVerb),
        ("OK\nno colon\n\n", .malformedField), ("OK\nUpper: x\n\n", .malformedField), ("OK\n: x\n\n", .malformedField),
        ("OK\na: %4\n\n", .malformedField), ("OK\na: %zz\n\n", .malformedField),
        ("OK\nsize: -1\n\n", .malformedSize), ("OK\nsize: 1\nsize: 1\n\n", .malformedSize),
        ("OK\nsize: 99999999999999999999\n\n", .malformedSize), ("OK\nsize: 1048577\n\n", .bodyTooLong),
    ])
    func malformedFramesAreErrors(text: String, error: FrameError) {
        #expect(throws: error) { try parse(text) }
    }

    @Test func limitsHold() {
        var limits = FrameLimits()
        limits.head = 20
        limits.fields = 2
        #expect(throws: FrameError.headTooLong) { try parse("OK\nabc: 1234567890123", limits: limits) }
        #expect(throws: FrameError.tooManyFields) { try parse("OK\na: 1\nb: 2\nc: 3\n\n", limits: limits) }
    }
}
