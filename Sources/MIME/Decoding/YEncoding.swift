/// Decodes one file, or one part of it, in yEnc 1.3 (yenc.org): from `=ybegin` to `=yend`, whose size and checksum are
/// compared; text around is left out.
package struct YEncDecoder: EnclosedFileDecoder {
    var state = EnclosedFileState.before
    var lines = EncodedLines()
    private var checksum = CRC32()
    private var size = 0
    private var isPart = false
    private var isEscaped = false
    package var defects: TransferDefects = []
    /// The name that the begin line tells, as it came.
    package private(set) var name: [UInt8]?

    package init() {}

    /// The name in a line that begins such a file; nil for any other line.
    package static func name(inBegin line: [UInt8]) -> [UInt8]? {
        guard line.starts(with: "=ybegin ".utf8), value("size", in: line) != nil else { return nil }
        // The name is the last word and may have blanks in it.
        let mark = Array(" name=".utf8)
        guard line.count >= mark.count else { return nil }
        let place = (0...(line.count - mark.count)).first { line[$0...].starts(with: mark) }
        return place.map { Array(ASCII.trim(line[($0 + mark.count)...])) }
    }

    /// The value of ` word=value`.
    private static func value(_ word: StaticString, in line: [UInt8]) -> ArraySlice<UInt8>? {
        for part in line.split(separator: ASCII.space, maxSplits: 10) {
            guard let equals = part.firstIndex(of: UInt8(ascii: "=")), equals > part.startIndex else { continue }
            if ASCII.equal(part[..<equals], word) { return part[(equals + 1)...] }
        }
        return nil
    }

    mutating func take(_ line: [UInt8], into output: inout [UInt8]) {
        switch state {
        case .before:
            guard !lines.isContinued, let name = Self.name(inBegin: line) else { return }
            self.name = name
            isPart = Self.value("part", in: line) != nil
            state = .inside
        case .inside:
            if !lines.isContinued, line.starts(with: "=yend ".utf8) {
                end(line)
            } else if lines.isContinued || !line.starts(with: "=ypart ".utf8) {
                content(line, into: &output)
            }
        case .after: return
        }
    }

    private mutating func content(_ line: [UInt8], into output: inout [UInt8]) {
        if !lines.isContinued { isEscaped = false }
        let start = output.count
        for octet in line {
            if isEscaped {
                output.append(octet &- 106)
                isEscaped = false
            } else if octet == UInt8(ascii: "=") {
                isEscaped = true
            } else {
                output.append(octet &- 42)
            }
        }
        size += output.count - start
        checksum.add(output[start...])
    }

    private mutating func end(_ line: [UInt8]) {
        state = .after
        if let told = Self.value("size", in: line), ASCII.number(told) != size { defects.insert(.badSize) }
        let word: StaticString = isPart ? "pcrc32" : "crc32"
        guard let told = Self.value(word, in: line) else { return }
        var number: UInt32 = 0
        for digit in told.suffix(8) {
            guard let value = ASCII.hexadecimal(digit) else { break }
            number = number << 4 | UInt32(value)
        }
        if number != checksum.value { defects.insert(.badChecksum) }
    }
}

/// Writes one file in yEnc 1.3, in lines of 128 characters.
package struct YEncEncoder: Sendable {
    private var checksum = CRC32()
    private var size = 0
    private var column = 0

    package init() {}

    /// The begin line; line ends in the name become `_`.
    package func begin(name: [UInt8], size: Int, into text: inout [UInt8]) {
        text += "=ybegin line=128 size=\(size) name=".utf8
        text += name.map { $0 >= 0x20 && $0 != 0x7F ? $0 : UInt8(ascii: "_") }
        text += [ASCII.carriageReturn, ASCII.lineFeed]
    }

    /// Encodes the next piece.
    package mutating func encode(_ octets: some Collection<UInt8>, into text: inout [UInt8]) {
        for octet in octets {
            let value = octet &+ 42
            switch value {
            // White space and dots are critical only at the ends of lines.
            case 0, ASCII.lineFeed, ASCII.carriageReturn, UInt8(ascii: "="), ASCII.tab, ASCII.space,
                UInt8(ascii: ".") where column == 0:
                text += [UInt8(ascii: "="), value &+ 64]
                column += 2
            default:
                text.append(value)
                column += 1
            }
            size += 1
            if column >= 128 {
                text += [ASCII.carriageReturn, ASCII.lineFeed]
                column = 0
            }
        }
        checksum.add(octets)
    }

    /// The end line.
    package mutating func finish(into text: inout [UInt8]) {
        if column > 0 { text += [ASCII.carriageReturn, ASCII.lineFeed] }
        let digits = String(checksum.value, radix: 16)
        text += "=yend size=\(size) crc32=\(String(repeating: "0", count: 8 - digits.utf8.count))\(digits)\r\n".utf8
    }
}

/// The CRC-32 of ISO 3309, as yEnc uses it.
struct CRC32: Sendable {
    private var state: UInt32 = 0xFFFF_FFFF

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }

    var value: UInt32 { ~state }

    mutating func add(_ octets: some Sequence<UInt8>) {
        for octet in octets { state = Self.table[Int((state ^ UInt32(octet)) & 0xFF)] ^ state >> 8 }
    }
}
