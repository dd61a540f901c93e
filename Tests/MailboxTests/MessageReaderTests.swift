import Files
import NIOCore
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

@Suite struct MessageReaderTests {
    private func file(_ content: [UInt8]) throws -> OpenFile {
        let path = "/tmp/martlet-reader-\(UInt64.random(in: 0 ... .max))"
        defer { unlink(path) }
        let file = try OpenFile(path, [.reading, .writing, .creating, .exclusive])
        try file.write(content)
        return file
    }

    private static let messages = [
        "", "x", "\n", "\r", "\r\n", "a\nb\n", "a\r\nb\r\n", "a\r\nb\nc", "\n\r\n\n", "a\rb\n", "a\r\r\n",
        String(repeating: "line\n", count: 40_000), String(repeating: "line\r\n", count: 20_000),
    ]

    private func expected(_ text: String) -> [UInt8] {
        var octets: [UInt8] = []
        for octet in text.utf8 {
            if octet == 10, octets.last != 13 { octets.append(13) }
            octets.append(octet)
        }
        return octets
    }

    @Test(arguments: messages.indices) func everyLineEndsInCRLF(_ index: Int) throws {
        let text = Self.messages[index]
        let reader = try MessageReader(try file(Array(text.utf8)), range: 0..<text.utf8.count, octets: nil)
        let expected = expected(text)
        #expect(reader.octets == expected.count)
        #expect(Array(try reader.read(at: 0, count: .max / 2).readableBytesView) == expected)
        #expect((reader.direct != nil) == (expected.count == text.utf8.count))
    }

    @Test(arguments: messages.indices) func anyPartCanBeRead(_ index: Int) throws {
        let text = Self.messages[index]
        let reader = try MessageReader(try file(Array(text.utf8)), range: 0..<text.utf8.count, octets: nil)
        let expected = expected(text)
        var random = SystemRandomNumberGenerator()
        for _ in 0..<20 {
            let offset = Int.random(in: 0...(expected.count + 2), using: &random)
            let count = Int.random(in: 0...100_000, using: &random)
            let part = try reader.read(at: offset, count: count)
            #expect(Array(part.readableBytesView) == Array(expected.dropFirst(offset).prefix(count)))
        }
        #expect(try reader.read(at: -1, count: 1).readableBytes == 0)
        #expect(try reader.read(at: 0, count: -1).readableBytes == 0)
    }

    private static let lines = [
        "From me\n", ">From me\n", ">>From me\n", "From\n", ">", "Fro", ">>>", "a\nFrom b\n\nFrom c", "\n>Fro\n>From ",
        "x",
    ]

    @Test(arguments: lines.indices, 1...4) func mboxGivesBackWhatItWasGiven(_ index: Int, _ step: Int) {
        let text = Self.lines[index]
        var encoder = MboxEncoder()
        var normaliser = LineNormaliser(unquotes: true)
        var encoded: [UInt8] = []
        var decoded: [UInt8] = []
        let message = expected(text)
        for start in stride(from: 0, to: message.count, by: step) {
            encoder.feed(message[start..<min(start + step, message.count)], into: &encoded)
        }
        encoder.finish(into: &encoded)
        #expect(!encoded.split(separator: 10).contains { $0.starts(with: Array("From ".utf8)) })
        #expect(!encoded.contains(13))
        // Without the empty line that ends the entry.
        let content = encoded.dropLast()
        for start in stride(from: 0, to: content.count, by: step) {
            normaliser.feed(content[start..<min(start + step, content.count)], into: &decoded)
        }
        normaliser.finish(into: &decoded)
        #expect(decoded == (text.hasSuffix("\n") || text.isEmpty ? message : message + [13, 10]))
    }

    @Test func entriesBeginBehindEmptyLines() throws {
        let mbox = "From a\nS: 1\n\nbody\nFrom inside\n\nFrom b\nS: 2\n\n\nFrom c\nno header end"
        var indexer = MboxIndexer()
        for octet in mbox.utf8 { withUnsafeBytes(of: octet) { indexer.feed($0) } }
        let octets = Array(mbox.utf8)
        let contents = indexer.finish().map { String(decoding: octets[$0.content..<$0.contentEnd], as: UTF8.self) }
        #expect(contents == ["S: 1\n\nbody\nFrom inside\n", "S: 2\n\n", "no header end"])
    }
}
