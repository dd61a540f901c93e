import NIOCore

// CR, LF, NUL and "%" in the values of frames and queue files are written as %0D %0A %00 %25 (docs/protocols.md).

extension ByteBuffer {
    /// Writes a value so that it stays on one line.
    package mutating func writePercentCoded(_ value: String) {
        guard value.utf8.contains(where: Self.needsCoding) else {
            writeString(value)
            return
        }
        for octet in value.utf8 {
            switch octet {
            case 0: writeStaticString("%00")
            case 10: writeStaticString("%0A")
            case 13: writeStaticString("%0D")
            case UInt8(ascii: "%"): writeStaticString("%25")
            default: writeInteger(octet)
            }
        }
    }

    private static func needsCoding(_ octet: UInt8) -> Bool {
        octet == 0 || octet == 10 || octet == 13 || octet == UInt8(ascii: "%")
    }
}

extension String {
    /// Reads a value that `writePercentCoded` wrote; nil where a `%` is followed by something else than two hexadecimal
    /// digits, or the octets are not UTF-8.
    package init?(percentCoded value: some Collection<UInt8>) {
        guard value.contains(UInt8(ascii: "%")) else {
            self.init(validating: value, as: UTF8.self)
            return
        }
        var octets: [UInt8] = []
        var rest = value.makeIterator()
        while let octet = rest.next() {
            guard octet == UInt8(ascii: "%") else {
                octets.append(octet)
                continue
            }
            guard let high = rest.next().flatMap(Self.digit), let low = rest.next().flatMap(Self.digit) else { return nil }
            octets.append(high << 4 | low)
        }
        self.init(validating: octets, as: UTF8.self)
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
