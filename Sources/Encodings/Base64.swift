import CLinux

/// Base64 with padding (RFC 4648 §4), whole and exact: as SASL, DNS and DKIM write it. Mail's own, in lines and with
/// all that goes wrong there, is `Base64Decoder` and `Base64Encoder`.
package enum Base64 {
    static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let padding = UInt8(ascii: "=")

    /// Encodes without line ends.
    package static func encode(_ octets: some Collection<UInt8>) -> [UInt8] { Base64Encoder.line(octets) }

    /// Encodes without line ends.
    package static func text(_ octets: some Collection<UInt8>) -> String {
        String(decoding: encode(octets), as: UTF8.self)
    }

    /// Decodes; nil for anything but whole, padded groups of the alphabet whose unused bits are zero.
    package static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        // One nil is that the octets aren't contiguous, the other that they aren't base64.
        if let octets = text.withContiguousStorageIfAvailable({ decode(contiguous: $0) }) { return octets }
        return Array(text).withUnsafeBufferPointer { decode(contiguous: $0) }
    }

    private static func decode(contiguous text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        guard text.count.isMultiple(of: 4) else { return nil }
        guard let start = text.baseAddress, text.count > 0 else { return [] }
        let isPadded = text[text.count - 1] == padding
        let plain = isPadded ? text.count - 4 : text.count
        let count = plain / 4 * 3
        var octets = [UInt8](unsafeUninitializedCapacity: count + 2) { room, written in
            guard let target = room.baseAddress else { return }
            _ = CLinux_base64_decode(start, plain, target, count, &written)
        }
        // It skips line ends, and stops at anything else: then there are fewer octets.
        guard octets.count == count else { return nil }
        if isPadded {
            guard let rest = lastGroup(text[plain...]) else { return nil }
            octets += rest
        }
        return octets
    }

    /// The octets of a group that ends in one or two padding characters.
    private static func lastGroup(_ group: Slice<UnsafeBufferPointer<UInt8>>) -> [UInt8]? {
        let letters = group.prefix { $0 != padding }
        guard (2...3).contains(letters.count), group.dropFirst(letters.count).allSatisfy({ $0 == padding }) else {
            return nil
        }
        var bits: UInt32 = 0
        for letter in letters {
            guard let value = value(of: letter) else { return nil }
            bits = bits << 6 | value
        }
        let unused = UInt32(letters.count == 2 ? 4 : 2)
        guard bits & (1 << unused - 1) == 0 else { return nil }
        bits >>= unused
        return letters.count == 2
            ? [UInt8(truncatingIfNeeded: bits)]
            : [UInt8(truncatingIfNeeded: bits >> 8), UInt8(truncatingIfNeeded: bits)]
    }

    /// The value of a character of the alphabet; nil for others, padding among them.
    package static func value(of character: UInt8) -> UInt32? {
        switch character {
        case 0x41...0x5A: UInt32(character) - 0x41
        case 0x61...0x7A: UInt32(character) - 0x61 + 26
        case 0x30...0x39: UInt32(character) - 0x30 + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
