@testable import MIME
import Encodings
import Testing

/// The octets cut into pieces of that size.
func pieces(_ octets: [UInt8], _ size: Int) -> [ArraySlice<UInt8>] {
    stride(from: 0, to: octets.count, by: size).map { octets[$0..<min($0 + size, octets.count)] }
}

/// The same octets for the same seed.
func noise(_ count: Int, seed: UInt64, among alphabet: [UInt8] = Array(0...255)) -> [UInt8] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    return (0..<count).map { _ in
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return alphabet[Int(truncatingIfNeeded: state >> 33) % alphabet.count]
    }
}

private func decode(_ text: [UInt8], _ encoding: TransferDecoder.Encoding, by size: Int) -> ([UInt8], TransferDefects) {
    var decoder = TransferDecoder(encoding)
    var result: [UInt8] = []
    for piece in pieces(text, size) { decoder.decode(piece, into: &result) }
    decoder.finish(into: &result)
    return (result, decoder.defects)
}

@Suite struct TransferTests {
    static let encodings: [TransferDecoder.Encoding] = [.identity, .base64, .quotedPrintable, .uuencode, .yEnc]

    private func encode(_ content: [UInt8], _ encoding: TransferDecoder.Encoding, by size: Int) -> [UInt8] {
        var text: [UInt8] = []
        let parts = pieces(content, size)
        switch encoding {
        case .identity: text = content
        case .base64:
            var encoder = Base64Encoder()
            for part in parts { encoder.encode(part, into: &text) }
            encoder.finish(into: &text)
        case .quotedPrintable:
            var encoder = QuotedPrintableEncoder(isBinary: true)
            for part in parts { encoder.encode(part, into: &text) }
            encoder.finish(into: &text)
        case .uuencode:
            var encoder = UUEncoder()
            encoder.begin(name: Array("a b".utf8), into: &text)
            for part in parts { encoder.encode(part, into: &text) }
            encoder.finish(into: &text)
        case .yEnc:
            var encoder = YEncEncoder()
            encoder.begin(name: Array("a b".utf8), size: content.count, into: &text)
            for part in parts { encoder.encode(part, into: &text) }
            encoder.finish(into: &text)
        }
        return text
    }

    @Test(arguments: encodings, [0, 1, 2, 3, 44, 45, 46, 57, 58, 1000, 10_000])
    func everyContentRoundTrips(encoding: TransferDecoder.Encoding, count: Int) {
        let content = noise(count, seed: UInt64(count + 1))
        let text = encode(content, encoding, by: 7)
        #expect(text == encode(content, encoding, by: 1_000_000))
        for size in [1, 3, 64, 1_000_000] {
            let (result, defects) = decode(text, encoding, by: size)
            #expect(result == content)
            #expect(defects == [])
        }
        if encoding == .base64 || encoding == .quotedPrintable {
            #expect(text.split(separator: 10).allSatisfy { $0.count <= 77 && $0.allSatisfy { $0 < 0x7F } })
        }
    }

    @Test(arguments: encodings) func rubbishDecodesTheSameInAnyPieces(encoding: TransferDecoder.Encoding) {
        let alphabets = [Array("=\r\n \tAZaz09+/_.-".utf8), Array(0...255), Array("= \r\n".utf8), Array("=AF \n".utf8)]
        let starts: [String] = ["", "begin 644 x\n", "=ybegin size=3 name=x\r\n"]
        for (seed, alphabet) in alphabets.enumerated() {
            for start in starts {
                let text = Array(start.utf8) + noise(6000, seed: UInt64(seed + 5), among: alphabet)
                let whole = decode(text, encoding, by: text.count)
                for size in [1, 2, 5, 1023] { #expect(decode(text, encoding, by: size) == whole) }
            }
        }
    }

    @Test(
        arguments: [
            ("aGVs\r\nbG8gd29ybGQ=\r\n", "hello world", TransferDefects()), ("aGVsbG8", "hello", .missingPadding),
            ("aGVsbG8=aGVsbG8=", "hello", .dataAfterPadding), ("aG*Vs-bG8=", "hello", .strayCharacters),
            ("aGVsbG8=\n\n--\nfooter", "hello", .dataAfterPadding),
            ("QUJDR", "ABC", .truncated),
            ("QUJDR===", "ABC", .truncated), ("", "", []), ("====", "", .strayCharacters),
        ] as [(String, String, TransferDefects)]
    )
    func base64(text: String, meaning: String, defects: TransferDefects) {
        let (result, found) = decode(Array(text.utf8), .base64, by: 5)
        #expect(found == defects)
        #expect(String(decoding: result, as: UTF8.self) == meaning)
    }

    @Test(
        arguments: [
            // RFC 2045 §6.7's example, and what relays and careless writers do to such text.
            (
                "Now's the time =\r\nfor all folk to come=\r\n to the aid of their country.",
                "Now's the time for all folk to come to the aid of their country.", TransferDefects()
            ),
            ("a=3D=3d=20  \r\nb \t\nc  ", "a== \r\nb\nc", []), ("soft=  \t\r\nline", "softline", []),
            ("end=", "end", []),
            ("bad=4 =zz =", "bad=4 =zz ", .badEscape), ("x=4", "x=4", .badEscape), ("a=\rb", "a=\rb", .badEscape),
            ("tail \r", "tail\r", []), ("a==\r\nb", "a=b", .badEscape),
        ] as [(String, String, TransferDefects)]
    )
    func quotedPrintable(text: String, meaning: String, defects: TransferDefects) {
        for size in 1...text.utf8.count {
            let (result, found) = decode(Array(text.utf8), .quotedPrintable, by: size)
            #expect(String(decoding: result, as: UTF8.self) == meaning)
            #expect(found == defects)
        }
    }

    @Test func quotedPrintableTextKeepsLines() {
        let text =
            "From me\r\n.\r\nblank at the end \r\nümläut = " + String(repeating: "x", count: 200)
            + "\r\nlone\nLF\rCR \t"
        var encoder = QuotedPrintableEncoder()
        var encoded: [UInt8] = []
        for octet in text.utf8 { encoder.encode([octet], into: &encoded) }
        encoder.finish(into: &encoded)
        let lines = String(decoding: encoded, as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(Array(lines.prefix(3)) == ["=46rom me", "=2E", "blank at the end=20"])
        #expect(lines.allSatisfy { $0.utf8.count <= 76 })
        #expect(String(decoding: TransferDecoder.decode(encoded, .quotedPrintable), as: UTF8.self) == text)
    }

    @Test func uuencodeIsReadAsItIsWritten() {
        let text = "hello\nbegin 644 cat.txt\n#0V%T\n`\nend\nafter\n"
        var decoder = UUDecoder()
        var result: [UInt8] = []
        Array(text.utf8).withUnsafeBufferPointer { decoder.decode($0, into: &result) }
        decoder.finish(into: &result)
        #expect(result == Array("Cat".utf8))
        #expect(decoder.name == Array("cat.txt".utf8))
        #expect(decode(Array("nothing".utf8), .uuencode, by: 9).1 == .noBegin)
        #expect(decode(Array("begin 644 a\n#0V%T".utf8), .uuencode, by: 9) == (Array("Cat".utf8), .noEnd))
        #expect(decode(Array("begin 644 a\nM0V%T\nend".utf8), .uuencode, by: 9).1 == .truncated)
    }

    @Test func yEncComparesSizeAndChecksum() {
        // CRC-32 of "123456789" is cbf43926.
        let body = Array("123456789".utf8).map { $0 &+ 42 }
        func file(_ crc: String, _ size: Int) -> [UInt8] {
            Array("=ybegin line=128 size=9 name=n i.txt\r\n".utf8) + body
                + Array("\r\n=yend size=\(size) crc32=\(crc)\r\n".utf8)
        }
        #expect(decode(file("CBF43926", 9), .yEnc, by: 4) == (Array("123456789".utf8), []))
        #expect(decode(file("cbf43927", 9), .yEnc, by: 4).1 == .badChecksum)
        #expect(decode(file("cbf43926", 8), .yEnc, by: 4).1 == .badSize)
        #expect(decode(Array(file("cbf43926", 9).dropLast(30)), .yEnc, by: 4).1 == .noEnd)
    }

    @Test func endlessLinesKeepNothing() {
        for encoding in Self.encodings {
            for start in ["", "begin 644 x\n", "=ybegin size=3 name=x\r\n"] {
                for octet in Array("= A\r".utf8) {
                    var decoder = TransferDecoder(encoding)
                    var result: [UInt8] = []
                    decoder.decode(start.utf8, into: &result)
                    let before = result.count
                    decoder.decode([UInt8](repeating: octet, count: 300_000), into: &result)
                    decoder.finish(into: &result)
                    #expect(result.count - before <= 300_000)
                }
            }
        }
    }
}
