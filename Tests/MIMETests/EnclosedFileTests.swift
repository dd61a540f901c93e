import Testing

@testable import MIME

@Suite struct EnclosedFileTests {
    private func read(_ text: [UInt8], by size: Int = .max) -> (text: [UInt8], files: [(EnclosedFile, [UInt8])]) {
        var reader = EnclosedFileReader()
        var outside: [UInt8] = []
        var files: [(EnclosedFile, [UInt8])] = []
        var content: [UInt8] = []
        func take(_ event: EnclosedFileReader.Event) {
            switch event {
            case .text(let octets): outside += octets
            case .begin: content = []
            case .content(let octets): content += octets
            case .end(let file): files.append((file, content))
            }
        }
        for piece in pieces(text, min(size, max(1, text.count))) { reader.feed(piece, to: take) }
        reader.finish(to: take)
        return (outside, files)
    }

    private func uuencoded(_ content: [UInt8], _ name: String) -> [UInt8] {
        var encoder = UUEncoder()
        var text: [UInt8] = []
        encoder.begin(name: Array(name.utf8), into: &text)
        encoder.encode(content, into: &text)
        encoder.finish(into: &text)
        return text
    }

    private func yEncoded(_ content: [UInt8], _ name: String) -> [UInt8] {
        var encoder = YEncEncoder()
        var text: [UInt8] = []
        encoder.begin(name: Array(name.utf8), size: content.count, into: &text)
        encoder.encode(content, into: &text)
        encoder.finish(into: &text)
        return text
    }

    @Test(arguments: [1, 2, 7, 64, 100_000]) func filesAreToldFromText(size: Int) {
        let one = noise(3000, seed: 1)
        let two = noise(500, seed: 2)
        let text =
            Array("hello\r\nbegin the day\r\n".utf8) + uuencoded(one, "a b.bin") + Array("between\r\n".utf8)
            + yEncoded(two, "c.bin") + Array("after".utf8)
        let (outside, files) = read(text, by: size)
        #expect(outside == Array("hello\r\nbegin the day\r\nbetween\r\nafter".utf8))
        #expect(files.map(\.0.encoding) == [.uuencode, .yEnc])
        #expect(files.map { String(decoding: $0.0.name, as: UTF8.self) } == ["a_b.bin", "c.bin"])
        #expect(files.map(\.1) == [one, two])
        #expect(files.map(\.0.octets) == [3000, 500])
        #expect(files.allSatisfy { $0.0.defects == [] })
    }

    @Test(arguments: [
        "begin 644 is what he said\r\nand went on\r\n", "begin 644 x", "=ybegin my day\r\n", "begin 644 a\r\n\r\n",
    ])
    func textThatLooksAlikeStays(text: String) {
        let (outside, files) = read(Array(text.utf8))
        #expect(outside == Array(text.utf8) && files.isEmpty)
    }

    @Test func damageIsReported() {
        let content = noise(900, seed: 3)
        let cut = read(Array(uuencoded(content, "x").prefix(600))).files
        #expect(cut.count == 1 && cut[0].0.defects.contains(.noEnd))
        var text = yEncoded(content, "x")
        text[60] &+= 1
        let changed = read(text).files
        #expect(changed.count == 1 && changed[0].0.defects.contains(.badChecksum))
    }

    /// A file in parts as yEnc 1.3 has them.
    private func parts(_ content: [UInt8], of size: Int) -> [[UInt8]] {
        let ranges = stride(from: 0, to: content.count, by: size).map { $0..<min($0 + size, content.count) }
        return ranges.enumerated().map { index, range in
            var encoder = YEncEncoder()
            var body: [UInt8] = []
            encoder.encode(content[range], into: &body)
            encoder.finish(into: &body)
            // The encoder's last line is for a whole file.
            let lines = body.before("=yend")
            var sum = CRC32()
            sum.add(content[range])
            var all = CRC32()
            all.add(content)
            let head =
                "=ybegin part=\(index + 1) total=\(ranges.count) line=128 size=\(content.count) name=joined.bin\r\n=ypart begin=\(range.lowerBound + 1) end=\(range.upperBound)\r\n"
            let tail =
                "=yend size=\(range.count) part=\(index + 1) pcrc32=\(String(sum.value, radix: 16)) crc32=\(String(all.value, radix: 16))\r\n"
            return Array(head.utf8) + lines + Array(tail.utf8)
        }
    }

    @Test func partsOfAFileAreJoined() throws {
        let content = noise(10_000, seed: 4)
        let texts = parts(content, of: 3000)
        var assembly = YEncAssembly(mostOctets: 1 << 20)
        for text in texts.reversed() { try assembly.addAll(in: Array("text\r\n".utf8) + text) }
        #expect(try assembly.file() == content)
        #expect(assembly.name == Array("joined.bin".utf8))
        let (_, files) = read(texts[1])
        #expect(files.first?.0.part?.number == 2 && files.first?.0.part?.total == 4)
        #expect(files.first?.0.part?.range == 3000..<6000)
    }

    @Test func partsThatDoNotFitAreRefused() throws {
        let texts = parts(noise(10_000, seed: 5), of: 3000)
        var assembly = YEncAssembly(mostOctets: 1 << 20)
        #expect(throws: YEncAssembly.Failure.missing([0..<0])) { try assembly.file() }
        try assembly.addAll(in: texts[0])
        try assembly.addAll(in: texts[3])
        #expect(throws: YEncAssembly.Failure.missing([3000..<9000])) { try assembly.file() }
        #expect(throws: YEncAssembly.Failure.repeated) { try assembly.addAll(in: texts[0]) }
        #expect(throws: YEncAssembly.Failure.otherFile) { try assembly.addAll(in: parts(noise(9, seed: 6), of: 9)[0]) }
        var small = YEncAssembly(mostOctets: 100)
        #expect(throws: YEncAssembly.Failure.tooLong) { try small.addAll(in: texts[0]) }
        var damaged = texts[1]
        damaged[200] &+= 1
        #expect(throws: YEncAssembly.Failure.notPart) { try assembly.addAll(in: damaged) }
    }
}

extension [UInt8] {
    /// What is before the mark.
    fileprivate func before(_ mark: String) -> [UInt8] {
        let wanted = Array(mark.utf8)
        return Array(self[..<(indices.first { self[$0...].starts(with: wanted) } ?? count)])
    }
}
