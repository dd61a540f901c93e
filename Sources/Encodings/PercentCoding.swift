import NIOCore

/// How values stand in `name: value` lines, in frames and in files: octets that would end or break a line, and `%`
/// itself, as `%` and two hexadecimal digits (docs/protocols.md, "The frame").
package enum PercentCoding {
    /// Whether a value has octets that can't stand as they are.
    package static func isNeeded(_ value: String) -> Bool { value.utf8.contains(where: isCoded) }

    fileprivate static func isCoded(_ octet: UInt8) -> Bool {
        octet == 0 || octet == 10 || octet == 13 || octet == UInt8(ascii: "%")
    }

    /// Undoes the coding, whichever octets were coded; nil for a `%` without two hexadecimal digits behind it.
    package static func decode(_ value: some Collection<UInt8>) -> [UInt8]? {
        var octets: [UInt8] = []
        octets.reserveCapacity(value.count)
        var rest = value.makeIterator()
        while let octet = rest.next() {
            guard octet == UInt8(ascii: "%") else {
                octets.append(octet)
                continue
            }
            guard let high = rest.next().flatMap(digit), let low = rest.next().flatMap(digit) else { return nil }
            octets.append(high << 4 | low)
        }
        return octets
    }

    private static func digit(_ octet: UInt8) -> UInt8? {
        switch octet {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): octet - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): octet - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): octet - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}

extension ByteBuffer {
    /// Appends a value of a `name: value` line, coded where that is needed.
    package mutating func writePercentCoded(_ value: String) {
        var value = value
        value.withUTF8 { octets in
            if !octets.contains(where: PercentCoding.isCoded) {
                writeBytes(octets)
                return
            }
            for octet in octets {
                switch octet {
                case 0: writeStaticString("%00")
                case 10: writeStaticString("%0A")
                case 13: writeStaticString("%0D")
                case UInt8(ascii: "%"): writeStaticString("%25")
                default: writeInteger(octet)
                }
            }
        }
    }
}
