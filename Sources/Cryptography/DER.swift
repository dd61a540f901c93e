/// The few pieces of DER (X.690) that keys and signatures are wrapped in.
enum DER {
    static func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        [tag] + length(content.count) + content
    }

    static func sequence(_ elements: [UInt8]...) -> [UInt8] {
        element(0x30, elements.flatMap { $0 })
    }

    /// A number that is not negative, from its octets, most significant first.
    static func integer(_ octets: some Sequence<UInt8>) -> [UInt8] {
        var digits = Array(octets.drop { $0 == 0 })
        if digits.first.map({ $0 & 0x80 != 0 }) ?? true { digits.insert(0, at: 0) }
        return element(0x02, digits)
    }

    static func bitString(_ octets: [UInt8]) -> [UInt8] {
        element(0x03, [0] + octets)
    }

    private static func length(_ count: Int) -> [UInt8] {
        if count < 0x80 { return [UInt8(truncatingIfNeeded: count)] }
        var digits: [UInt8] = []
        var rest = count
        while rest > 0 {
            digits.insert(UInt8(truncatingIfNeeded: rest), at: 0)
            rest >>= 8
        }
        return [0x80 | UInt8(truncatingIfNeeded: digits.count)] + digits
    }

    /// The two numbers of an ECDSA signature (RFC 3279 section 2.2.3), each of `width` octets; nil if it is none.
    static func pair(_ octets: [UInt8], width: Int) -> [UInt8]? {
        var rest = octets[...]
        guard let body = take(0x30, from: &rest), rest.isEmpty else { return nil }
        var numbers = body
        guard let first = take(0x02, from: &numbers), let second = take(0x02, from: &numbers), numbers.isEmpty else {
            return nil
        }
        var result: [UInt8] = []
        for number in [first, second] {
            let digits = number.drop { $0 == 0 }
            guard digits.count <= width else { return nil }
            result += [UInt8](repeating: 0, count: width - digits.count) + digits
        }
        return result
    }

    /// The content of the element at the start, which is taken off; nil if it has another tag or is cut short.
    static func take(_ tag: UInt8, from octets: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard octets.popFirst() == tag, let first = octets.popFirst() else { return nil }
        var count = Int(first)
        if first >= 0x80 {
            let digits = octets.prefix(Int(first & 0x7f))
            guard digits.count == Int(first & 0x7f), digits.count <= 4, !digits.isEmpty else { return nil }
            octets.removeFirst(digits.count)
            count = digits.reduce(0) { $0 << 8 | Int($1) }
        }
        guard octets.count >= count else { return nil }
        let content = octets.prefix(count)
        octets.removeFirst(count)
        return content
    }
}
