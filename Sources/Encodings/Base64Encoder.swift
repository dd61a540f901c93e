import CLinux

/// Encodes base64 (RFC 2045 §6.8) in lines of 76 characters that end in CRLF.
package struct Base64Encoder: Sendable {
    private var held: [UInt8] = []
    private var column = 0
    private let lineLength: Int

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
            let letter = Base64.alphabet[Int(group >> UInt32(18 - 6 * index) & 63)]
            text.append(index < characters ? letter : UInt8(ascii: "="))
        }
        column += 4
        if lineLength > 0, column >= lineLength { endLine(&text) }
    }

    private mutating func endLine(_ text: inout [UInt8]) {
        text.append(UInt8(ascii: "\r"))
        text.append(UInt8(ascii: "\n"))
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
