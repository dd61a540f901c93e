/// Base64 with padding (RFC 4648 §4), as SASL puts it into lines.
package enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let padding = UInt8(ascii: "=")

    /// Encodes without line ends.
    package static func encode(_ octets: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for octet in octets {
            bits = bits << 8 | UInt32(octet)
            count += 1
            guard count == 3 else { continue }
            append(bits, 4, to: &text)
            bits = 0
            count = 0
        }
        if count > 0 {
            append(bits << UInt32(8 * (3 - count)), count + 1, to: &text)
            text.append(contentsOf: repeatElement(padding, count: 3 - count))
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func append(_ bits: UInt32, _ characters: Int, to text: inout [UInt8]) {
        for index in 0..<characters {
            text.append(alphabet[Int(bits >> UInt32(18 - 6 * index) & 63)])
        }
    }

    /// Decodes; nil for anything but whole, padded groups of the alphabet whose unused bits are zero.
    package static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var octets: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        var pads = 0
        for character in text {
            if character == padding {
                pads += 1
                guard pads <= 2, count + pads <= 4 else { return nil }
            } else {
                guard pads == 0, let value = value(of: character) else { return nil }
                bits = bits << 6 | value
                count += 1
            }
            guard count + pads == 4 else { continue }
            guard count >= 2, let group = group(bits, count) else { return nil }
            octets += group
            if pads == 0 {
                bits = 0
                count = 0
            }
        }
        return (pads > 0 ? count + pads == 4 : count == 0) ? octets : nil
    }

    private static func group(_ bits: UInt32, _ count: Int) -> [UInt8]? {
        let bits = bits << UInt32(6 * (4 - count))
        let octets = [
            UInt8(truncatingIfNeeded: bits >> 16), UInt8(truncatingIfNeeded: bits >> 8),
            UInt8(truncatingIfNeeded: bits),
        ]
        guard octets[(count - 1)...].allSatisfy({ $0 == 0 }) || count == 4 else { return nil }
        return Array(octets.prefix(count - 1))
    }

    private static func value(of character: UInt8) -> UInt32? {
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
