/// An octet with the ASCII capitals made small; lengths of labels (at most 63) are left alone (RFC 4343 §3).
@inline(__always)
package func asciiLowercased(_ octet: UInt8) -> UInt8 {
    octet &- 0x41 < 26 ? octet | 0x20 : octet
}

/// Eight octets with the ASCII capitals made small, at once.
@inline(__always)
package func asciiLowercased(_ word: UInt64) -> UInt64 {
    let low = word & 0x7F7F_7F7F_7F7F_7F7F
    let aboveZ = low &+ 0x2525_2525_2525_2525
    let fromA = low &+ 0x3F3F_3F3F_3F3F_3F3F
    let capitals = ~word & (fromA ^ aboveZ) & 0x8080_8080_8080_8080
    return word | (capitals >> 2)
}

/// The octets eight at a time, small letters only, the last word filled up with zeros.
@inline(__always)
package func foldedWords(_ octets: UnsafeRawBufferPointer) -> FoldedWords {
    FoldedWords(octets: octets)
}

/// What `foldedWords` gives: a sequence without memory of its own.
package struct FoldedWords: Sequence, IteratorProtocol {
    let octets: UnsafeRawBufferPointer
    var position = 0

    init(octets: UnsafeRawBufferPointer) {
        self.octets = octets
    }

    /// The next word.
    @inline(__always)
    package mutating func next() -> UInt64? {
        let left = octets.count - position
        guard left > 0 else { return nil }
        var word: UInt64 = 0
        if left >= 8 {
            word = octets.loadUnaligned(fromByteOffset: position, as: UInt64.self)
        } else {
            for index in 0..<left { word |= UInt64(octets[position + index]) << UInt64(index * 8) }
        }
        position += 8
        return asciiLowercased(word)
    }
}
