/// Decodes base64 (RFC 2045 §6.8) that comes in pieces: four characters at a time by table, and one at a time where lines
/// end, padding stands, or rubbish is left out.
package struct Base64Decoder: Sendable {
    private var bits: UInt32 = 0
    /// Characters of the group that has begun.
    private var count = 0
    private var isPadded = false
    package private(set) var defects: TransferDefects = []

    private static let isBlank: UInt8 = 64
    private static let isPadding: UInt8 = 65
    private static let isStray: UInt8 = 66
    /// No group of four characters has this bit.
    private static let invalid: UInt32 = 1 << 31

    /// What each character is: its value, or one of those above.
    private static let classes: [UInt8] = (0...255).map { (octet: Int) in
        let octet = UInt8(truncatingIfNeeded: octet)
        if let value = TransferDecoder.base64Value(octet) { return UInt8(truncatingIfNeeded: value) }
        return octet == UInt8(ascii: "=") ? isPadding : ASCII.isWhitespace(octet) ? isBlank : isStray
    }

    /// The value of each character at each of the four places of a group, already shifted to where it belongs.
    private static let shifted: [UInt32] = (0..<1024).map { index in
        let value = classes[index % 256]
        return value < 64 ? UInt32(value) << UInt32(18 - 6 * (index / 256)) : invalid
    }

    private static let scratch = 3072

    package init() {}

    /// Decodes the next piece and appends what it means.
    package mutating func decode(_ input: UnsafeBufferPointer<UInt8>, into output: inout [UInt8]) {
        Self.shifted.withUnsafeBufferPointer { table in
            withUnsafeTemporaryAllocation(byteCount: Self.scratch, alignment: 8) { scratch in
                var position = 0
                while position < input.count {
                    var written = 0
                    while position < input.count, written + 3 <= Self.scratch {
                        if count == 0 {
                            Self.groups(input, &position, table, scratch, &written)
                            guard position < input.count, written + 3 <= Self.scratch else { break }
                        }
                        if let octet = one(input[position]) {
                            scratch[written] = octet
                            written += 1
                        }
                        position += 1
                    }
                    output.append(contentsOf: scratch[..<written])
                }
            }
        }
        if count == 0 { return }
        bits &= 0xFF_FFFF
    }

    /// Whole groups of the alphabet, up to the first other character.
    @inline(__always)
    private static func groups(
        _ input: UnsafeBufferPointer<UInt8>,
        _ position: inout Int,
        _ table: UnsafeBufferPointer<UInt32>,
        _ scratch: UnsafeMutableRawBufferPointer,
        _ written: inout Int
    ) {
        var from = position
        var to = written
        while from + 4 <= input.count, to + 3 <= scratch.count {
            let value =
                table[Int(input[from])] | table[256 + Int(input[from + 1])] | table[512 + Int(input[from + 2])]
                | table[768 + Int(input[from + 3])]
            guard value & invalid == 0 else { break }
            scratch[to] = UInt8(truncatingIfNeeded: value >> 16)
            scratch[to + 1] = UInt8(truncatingIfNeeded: value >> 8)
            scratch[to + 2] = UInt8(truncatingIfNeeded: value)
            from += 4
            to += 3
        }
        position = from
        written = to
    }

    /// One character; the octet that it completes.
    private mutating func one(_ character: UInt8) -> UInt8? {
        let value = Self.classes[Int(character)]
        switch value {
        case Self.isBlank: return nil
        case Self.isStray:
            defects.insert(.strayCharacters)
            return nil
        case Self.isPadding:
            if count == 1 { defects.insert(.truncated) }
            isPadded = true
            count = 0
            return nil
        default:
            if isPadded {
                defects.insert(.dataAfterPadding)
                isPadded = false
            }
            bits = bits << 6 | UInt32(value)
            count = (count + 1) % 4
            return count == 1 ? nil : UInt8(truncatingIfNeeded: bits >> UInt32((4 - count) % 4 * 2))
        }
    }

    /// The end: looks whether the last group is complete.
    package mutating func finish() {
        if count == 1 { defects.insert(.truncated) } else if count > 1 { defects.insert(.missingPadding) }
        count = 0
    }
}

/// Encodes base64 (RFC 2045 §6.8) in lines of 76 characters that end in CRLF.
package struct Base64Encoder: Sendable {
    private var held: [UInt8] = []
    private var column = 0
    private let lineLength: Int

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// - Parameter lineLength: characters, made a multiple of four; 0 for one line without an end.
    package init(lineLength: Int = 76) { self.lineLength = max(0, lineLength / 4 * 4) }

    /// Encodes the next piece.
    package mutating func encode(_ octets: some Collection<UInt8>, into text: inout [UInt8]) {
        var group: UInt32 = 0
        var count = 0
        for octet in held {
            group = group << 8 | UInt32(octet)
            count += 1
        }
        held.removeAll(keepingCapacity: true)
        for octet in octets {
            group = group << 8 | UInt32(octet)
            count += 1
            guard count == 3 else { continue }
            append(group, characters: 4, to: &text)
            group = 0
            count = 0
        }
        for index in stride(from: count - 1, through: 0, by: -1) {
            held.append(UInt8(truncatingIfNeeded: group >> UInt32(8 * index)))
        }
    }

    /// The end: the last group, filled up, and the last line's end.
    package mutating func finish(into text: inout [UInt8]) {
        if !held.isEmpty {
            var group: UInt32 = 0
            for index in 0..<3 { group = group << 8 | (index < held.count ? UInt32(held[index]) : 0) }
            append(group, characters: held.count + 1, to: &text)
            held = []
        }
        if column > 0, lineLength > 0 { endLine(&text) }
    }

    private mutating func append(_ group: UInt32, characters: Int, to text: inout [UInt8]) {
        for index in 0..<4 {
            let letter = Self.alphabet[Int(group >> UInt32(18 - 6 * index) & 63)]
            text.append(index < characters ? letter : UInt8(ascii: "="))
        }
        column += 4
        if lineLength > 0, column >= lineLength { endLine(&text) }
    }

    private mutating func endLine(_ text: inout [UInt8]) {
        text.append(ASCII.carriageReturn)
        text.append(ASCII.lineFeed)
        column = 0
    }

    /// All in one line.
    package static func line(_ octets: some Collection<UInt8>) -> [UInt8] {
        var encoder = Base64Encoder(lineLength: 0)
        var text: [UInt8] = []
        encoder.encode(octets, into: &text)
        encoder.finish(into: &text)
        return text
    }
}
