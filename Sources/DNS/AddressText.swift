/// Internet addresses as text: dotted decimal, and RFC 4291 §2.2 read, RFC 5952 written.
package enum AddressText {
    /// Four octets from dotted decimal; nil for anything else, numbers with leading zeros included.
    package static func parse4(_ text: some Collection<UInt8>) -> [UInt8]? {
        let parts = text.split(separator: 0x2E, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var octets: [UInt8] = []
        for part in parts {
            guard part.count <= 3, part.count == 1 || part.first != 0x30, let number = decimal(part), number <= 255
            else { return nil }
            octets.append(UInt8(number))
        }
        return octets
    }

    /// Sixteen octets from the text form of an IPv6 address; nil for anything else, zones included.
    package static func parse6(_ text: some Collection<UInt8>) -> [UInt8]? {
        guard text.count <= 45 else { return nil }
        let text = Array(text)
        guard let gap = text.indices.dropLast().first(where: { text[$0] == 0x3A && text[$0 + 1] == 0x3A }) else {
            let octets = groups(text[...])
            return octets?.count == 16 ? octets : nil
        }
        guard let head = groups(text[..<gap]), let tail = groups(text[(gap + 2)...]), head.count + tail.count <= 14
        else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    private static func groups(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        guard !text.isEmpty else { return [] }
        let parts = text.split(separator: 0x3A, omittingEmptySubsequences: false)
        var octets: [UInt8] = []
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1, part.contains(0x2E) {
                guard let address = parse4(part) else { return nil }
                octets += address
                continue
            }
            guard (1...4).contains(part.count), let digits = hexadecimal(part) else { return nil }
            octets += [UInt8(digits >> 8), UInt8(digits & 0xFF)]
        }
        return octets
    }

    private static func hexadecimal(_ text: ArraySlice<UInt8>) -> UInt16? {
        let padded = [UInt8](repeating: 0x30, count: 4 - text.count) + text
        return RadixCoding.hexadecimal.decode(padded).map { UInt16($0[0]) << 8 | UInt16($0[1]) }
    }

    /// The text form of 4 or 16 octets; empty for any other count.
    package static func print(_ octets: some Collection<UInt8>) -> String {
        switch octets.count {
        case 4: octets.map { String($0) }.joined(separator: ".")
        case 16: print6(Array(octets))
        default: ""
        }
    }

    private static func print6(_ octets: [UInt8]) -> String {
        let groups = (0..<8).map { UInt16(octets[$0 * 2]) << 8 | UInt16(octets[$0 * 2 + 1]) }
        var longest = 0..<0
        var start = 0
        for index in 0...8 where index == 8 || groups[index] != 0 {
            if index - start > longest.count { longest = start..<index }
            start = index + 1
        }
        let text: (Range<Int>) -> String = { range in
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        return longest.count < 2 ? text(0..<8) : text(0..<longest.lowerBound) + "::" + text(longest.upperBound..<8)
    }
}
