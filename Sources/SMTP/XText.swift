/// The encoding of parameter values (RFC 3461 §4): an octet that is not printable, `+` or `=` is written as `+HH`.
package enum XText {
    /// Writes `octets` as xtext.
    package static func encode(_ octets: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        for octet in octets {
            if (0x21...0x7E).contains(octet), octet != UInt8(ascii: "+"), octet != UInt8(ascii: "=") {
                text.append(octet)
            } else {
                text.append(UInt8(ascii: "+"))
                text.append(digit(octet >> 4))
                text.append(digit(octet & 0x0F))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The octets that `text` stands for; nil where it is not xtext. Lower-case hexadecimal digits are tolerated.
    package static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var octets: [UInt8] = []
        var iterator = text.makeIterator()
        while let byte = iterator.next() {
            switch byte {
            case UInt8(ascii: "+"):
                guard let high = iterator.next()?.hexadecimalValue, let low = iterator.next()?.hexadecimalValue else {
                    return nil
                }
                octets.append(high << 4 | low)
            case UInt8(ascii: "="):
                return nil
            case 0x21...0x7E:
                octets.append(byte)
            default:
                return nil
            }
        }
        return octets
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x41 + value - 10
    }
}
