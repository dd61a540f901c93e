/// Decodes one file, or one part of it, in yEnc 1.3 (yenc.org): from `=ybegin` to `=yend`, whose size and checksum are
/// compared; text around is left out.
package struct YEncDecoder: EnclosedFileDecoder {
    var state = EnclosedFileState.before
    var lines = EncodedLines()
    private var checksum = CRC32()
    private var size = 0
    private var isEscaped = false
    package var defects: TransferDefects = []
    /// The name that the begin line tells, as it came.
    package private(set) var name: [UInt8]?
    /// What the lines say where this is one part of a file.
    package private(set) var part: YEncPart?
    private var fileSize: Int?

    /// How the line begins that begins such a file.
    static let begin = Array("=ybegin ".utf8)

    package init() {}

    /// The name in a line that begins such a file; nil for any other line.
    package static func name(inBegin line: [UInt8]) -> [UInt8]? {
        guard line.starts(with: begin), value("size", in: line) != nil else { return nil }
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
            fileSize = Self.value("size", in: line).flatMap { ASCII.number($0) }
            part = Self.value("part", in: line).map { part in
                YEncPart(
                    number: ASCII.number(part) ?? 0,
                    total: Self.value("total", in: line).flatMap { ASCII.number($0) },
                    fileSize: fileSize
                )
            }
            state = .inside
        case .inside:
            if !lines.isContinued, line.starts(with: "=yend ".utf8) {
                end(line)
            } else if lines.isContinued || !line.starts(with: "=ypart ".utf8) {
                content(line, into: &output)
            } else if let begin = Self.value("begin", in: line).flatMap({ ASCII.number($0) }), begin > 0,
                let end = Self.value("end", in: line).flatMap({ ASCII.number($0) }), end >= begin - 1
            {
                part?.range = (begin - 1)..<end
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
        if let range = part?.range, range.count != size { defects.insert(.badSize) }
        if part == nil, let fileSize, fileSize != size { defects.insert(.badSize) }
        part?.fileChecksum = Self.value("crc32", in: line).map(Self.number)
        let word: StaticString = part == nil ? "crc32" : "pcrc32"
        guard let told = Self.value(word, in: line) else { return }
        if Self.number(told) != checksum.value { defects.insert(.badChecksum) }
    }

    /// A checksum's hexadecimal digits.
    private static func number(_ digits: ArraySlice<UInt8>) -> UInt32 {
        var number: UInt32 = 0
        for digit in digits.suffix(8) {
            guard let value = ASCII.hexadecimal(digit) else { break }
            number = number << 4 | UInt32(value)
        }
        return number
    }
}

/// Where a part belongs in the file that it is of.
package struct YEncPart: Sendable, Equatable {
    /// From 1; 0 where the line tells none.
    package var number: Int
    package var total: Int?
    /// The size of the whole file. Octets.
    package var fileSize: Int?
    /// The octets of the file that it holds; nil where no line tells.
    package var range: Range<Int>?
    /// The whole file's checksum, which the last part's end line tells.
    package var fileChecksum: UInt32?

    package init(number: Int, total: Int?, fileSize: Int?) {
        self.number = number
        self.total = total
        self.fileSize = fileSize
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
