import CLinux

/// Decodes base64 (RFC 2045 §6.8) that comes in pieces: sixteen characters at a time, and one at a time where padding stands
/// or rubbish is left out.
package struct Base64Decoder: Sendable {
    private var bits: UInt32 = 0
    /// Characters of the group that has begun.
    private var count = 0
    private var isPadded = false
    package private(set) var defects: TransferDefects = []

    private static let isBlank: UInt8 = 64
    private static let isPadding: UInt8 = 65
    private static let isStray: UInt8 = 66
    /// What each character is: its value, or one of those above.
    private static let classes: [UInt8] = (0...255).map { (octet: Int) in
        let octet = UInt8(truncatingIfNeeded: octet)
        if let value = TransferDecoder.base64Value(octet) { return UInt8(truncatingIfNeeded: value) }
        return octet == UInt8(ascii: "=") ? isPadding : ASCII.isWhitespace(octet) ? isBlank : isStray
    }

    private static let scratch = 3072

    package init() {}

    /// Decodes the next piece and appends what it means.
    package mutating func decode(_ input: UnsafeBufferPointer<UInt8>, into output: inout [UInt8]) {
        withUnsafeTemporaryAllocation(byteCount: Self.scratch, alignment: 16) { scratch in
            var position = 0
            while position < input.count {
                var written = 0
                while position < input.count, written + 16 <= Self.scratch {
                    if isPadded {
                        pass(input[position...])
                        position = input.count
                        break
                    }
                    if count == 0 {
                        Self.groups(input, &position, scratch, &written)
                        guard position < input.count, written + 16 <= Self.scratch else { break }
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
        bits &= 0xFF_FFFF
    }

    /// Whole groups of the alphabet and the line ends between them, up to the first that has anything else in it.
    private static func groups(
        _ input: UnsafeBufferPointer<UInt8>,
        _ position: inout Int,
        _ scratch: UnsafeMutableRawBufferPointer,
        _ written: inout Int
    ) {
        guard let source = input.baseAddress, let target = scratch.baseAddress else { return }
        var added = 0
        position += CLinux_base64_decode(
            source + position,
            input.count - position,
            target.assumingMemoryBound(to: UInt8.self) + written,
            scratch.count - written,
            &added
        )
        written += added
    }

    /// What stands behind the padding, which ends the data (§6.8): nothing but more of it should.
    private mutating func pass(_ rest: Slice<UnsafeBufferPointer<UInt8>>) {
        guard !defects.contains(.dataAfterPadding) else { return }
        let isData = rest.contains { character in
            let value = Self.classes[Int(character)]
            return value != Self.isBlank && value != Self.isPadding
        }
        if isData { defects.insert(.dataAfterPadding) }
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
            // Where no octet ends it's no padding.
            guard count >= 2 else {
                defects.insert(count == 1 ? .truncated : .strayCharacters)
                return nil
            }
            isPadded = true
            count = 0
            return nil
        default:
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
        if octets.withContiguousStorageIfAvailable({ run($0, into: &text) }) == nil {
            Array(octets).withUnsafeBufferPointer { run($0, into: &text) }
        }
    }

    private mutating func run(_ octets: UnsafeBufferPointer<UInt8>, into text: inout [UInt8]) {
        var rest = octets[...]
        if !held.isEmpty {
            while held.count < 3, let octet = rest.popFirst() { held.append(octet) }
            guard held.count == 3 else { return }
            let group = held
            held.removeAll(keepingCapacity: true)
            group.withUnsafeBufferPointer { groups($0[...], into: &text) }
        }
        while rest.count >= 3 {
            let room = lineLength > 0 ? (lineLength - column) / 4 : 1024
            let count = 3 * min(room, rest.count / 3)
            groups(rest.prefix(count), into: &text)
            rest = rest.dropFirst(count)
        }
        held.append(contentsOf: rest)
    }

    /// Groups that fit into the line.
    private mutating func groups(_ octets: Slice<UnsafeBufferPointer<UInt8>>, into text: inout [UInt8]) {
        let count = octets.count / 3
        withUnsafeTemporaryAllocation(byteCount: 4 * count, alignment: 16) { room in
            guard let source = UnsafeBufferPointer(rebasing: octets).baseAddress, let target = room.baseAddress else {
                return
            }
            CLinux_base64_encode(source, count, target.assumingMemoryBound(to: UInt8.self))
            text.append(contentsOf: room)
        }
        column += 4 * count
        if lineLength > 0, column >= lineLength { endLine(&text) }
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
