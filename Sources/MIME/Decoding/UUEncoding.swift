/// Decodes one file in uuencode (POSIX, uuencode utility): from its `begin` line to its `end` line; text around is left out.
package struct UUDecoder: EnclosedFileDecoder {
    var state = EnclosedFileState.before
    var lines = EncodedLines()
    package var defects: TransferDefects = []
    /// The name that the begin line tells, as it came.
    package private(set) var name: [UInt8]?

    /// How the line begins that begins such a file.
    static let begin = Array("begin ".utf8)

    package init() {}

    /// The name in a line that begins such a file (`begin 644 name`); nil for any other line.
    package static func name(inBegin line: [UInt8]) -> [UInt8]? {
        guard line.starts(with: begin) else { return nil }
        let mode = line.dropFirst(6).prefix { (0x30...0x37).contains($0) }
        guard (3...4).contains(mode.count), line[mode.endIndex...].first == ASCII.space else { return nil }
        return Array(ASCII.trim(line[mode.endIndex...]))
    }

    /// Whether a line may follow the begin line: as many characters as its first one says, or the end's.
    static func isContent(_ line: [UInt8]) -> Bool {
        guard let first = line.first else { return false }
        if line.elementsEqual("end".utf8) { return true }
        guard line.allSatisfy({ (0x20...0x60).contains($0) }) else { return false }
        let needed = (Int((first &- 0x20) & 63) + 2) / 3 * 4
        // Blanks at the end may be lost, and there may be a checksum.
        return line.count - 1 <= needed + 2 && line.count - 1 + 4 >= needed
    }

    mutating func take(_ line: [UInt8], into output: inout [UInt8]) {
        switch state {
        case .before:
            guard !lines.isContinued, let name = Self.name(inBegin: line) else { return }
            self.name = name
            state = .inside
        case .inside:
            if line.elementsEqual("end".utf8) { state = .after } else { content(line, into: &output) }
        case .after: return
        }
    }

    private mutating func content(_ line: [UInt8], into output: inout [UInt8]) {
        guard let first = line.first else { return }
        guard !lines.isContinued, line.allSatisfy({ (0x20...0x60).contains($0) }) else {
            defects.insert(.strayCharacters)
            return
        }
        let count = Int((first &- 0x20) & 63)
        // Blanks at a line's end stand for zeros and get lost on the way; one character more is an old checksum.
        let needed = (count + 2) / 3 * 4
        var characters = Array(line.dropFirst().prefix(needed))
        if characters.count * 3 / 4 < count {
            if characters.count + 4 < needed { defects.insert(.truncated) }
            characters += [UInt8](repeating: 0x20, count: needed - characters.count)
        }
        var bits: UInt32 = 0
        var written = 0
        for (index, character) in characters.enumerated() {
            bits = bits << 6 | UInt32((character &- 0x20) & 63)
            guard index % 4 == 3 else { continue }
            for shift in [16, 8, 0] as [UInt32] where written < count {
                output.append(UInt8(truncatingIfNeeded: bits >> shift))
                written += 1
            }
            bits = 0
        }
    }
}

/// Writes one file in uuencode.
package struct UUEncoder: Sendable {
    private var held: [UInt8] = []

    package init() {}

    /// The begin line; what isn't printable in the name becomes `_`.
    package func begin(name: [UInt8], into text: inout [UInt8]) {
        text += "begin 644 ".utf8
        text += name.map { $0 > 0x20 && $0 != 0x7F ? $0 : UInt8(ascii: "_") }
        text += [ASCII.carriageReturn, ASCII.lineFeed]
    }

    /// Encodes the next piece.
    package mutating func encode(_ octets: some Collection<UInt8>, into text: inout [UInt8]) {
        for octet in octets {
            held.append(octet)
            if held.count == 45 { line(into: &text) }
        }
    }

    /// The end: the last line, the empty one, and `end`.
    package mutating func finish(into text: inout [UInt8]) {
        if !held.isEmpty { line(into: &text) }
        text += "`\r\nend\r\n".utf8
    }

    private mutating func line(into text: inout [UInt8]) {
        text.append(Self.character(UInt32(held.count)))
        for start in stride(from: 0, to: held.count, by: 3) {
            var bits: UInt32 = 0
            for index in start..<(start + 3) { bits = bits << 8 | (index < held.count ? UInt32(held[index]) : 0) }
            for shift in [18, 12, 6, 0] as [UInt32] { text.append(Self.character(bits >> shift & 63)) }
        }
        text += [ASCII.carriageReturn, ASCII.lineFeed]
        held.removeAll(keepingCapacity: true)
    }

    private static func character(_ value: UInt32) -> UInt8 {
        value == 0 ? UInt8(ascii: "`") : UInt8(truncatingIfNeeded: value) &+ 0x20
    }
}
