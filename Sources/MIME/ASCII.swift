/// Octets of US-ASCII and comparisons that know no locale.
package enum ASCII {
    package static let nul: UInt8 = 0
    package static let tab: UInt8 = 9
    package static let lineFeed: UInt8 = 10
    package static let carriageReturn: UInt8 = 13
    package static let space: UInt8 = 32
    package static let quote = UInt8(ascii: "\"")
    package static let backslash = UInt8(ascii: "\\")

    /// The octet in lower case, if it's a letter of ASCII.
    @inline(__always)
    @inlinable
    package static func lower(_ octet: UInt8) -> UInt8 {
        octet >= 0x41 && octet <= 0x5A ? octet | 0x20 : octet
    }

    /// The octet in upper case, if it's a letter of ASCII.
    @inline(__always)
    package static func upper(_ octet: UInt8) -> UInt8 {
        octet >= 0x61 && octet <= 0x7A ? octet & 0xDF : octet
    }

    package static func isDigit(_ octet: UInt8) -> Bool { octet >= 0x30 && octet <= 0x39 }

    package static func isLetter(_ octet: UInt8) -> Bool { (0x61...0x7A).contains(octet | 0x20) }

    /// Space or tab.
    package static func isBlank(_ octet: UInt8) -> Bool { octet == space || octet == tab }

    /// Space, tab, CR or LF.
    package static func isWhitespace(_ octet: UInt8) -> Bool {
        octet == space || octet == tab || octet == lineFeed || octet == carriageReturn
    }

    /// Whether the octets are that word, in any case.
    @inlinable
    package static func equal(_ octets: some Sequence<UInt8>, _ word: StaticString) -> Bool {
        word.withUTF8Buffer { word in
            octets.elementsEqual(word) { lower($0) == lower($1) }
        }
    }

    /// Whether both are the same word, in any case.
    @inlinable
    package static func equal(_ one: some Sequence<UInt8>, _ other: some Sequence<UInt8>) -> Bool {
        one.elementsEqual(other) { lower($0) == lower($1) }
    }

    /// Without white space at both ends.
    package static func trim(_ octets: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var rest = octets.drop(while: isWhitespace)
        while let last = rest.last, isWhitespace(last) { rest.removeLast() }
        return rest
    }

    /// The value of a hexadecimal digit.
    package static func hexadecimal(_ octet: UInt8) -> UInt8? {
        switch octet {
        case 0x30...0x39: octet - 0x30
        case 0x41...0x46: octet - 0x41 + 10
        case 0x61...0x66: octet - 0x61 + 10
        default: nil
        }
    }

    /// The octets with each escape sign and the two hexadecimal digits behind it taken for the octet that they spell;
    /// signs without digits stay.
    static func unescaped(_ text: ArraySlice<UInt8>, sign: UInt8) -> [UInt8] {
        var octets: [UInt8] = []
        var rest = text
        while let octet = rest.popFirst() {
            if octet == sign, rest.count >= 2, let high = hexadecimal(rest[rest.startIndex]),
                let low = hexadecimal(rest[rest.startIndex + 1])
            {
                octets.append(high << 4 | low)
                rest = rest.dropFirst(2)
            } else {
                octets.append(octet)
            }
        }
        return octets
    }

    /// A decimal number of only digits; nil when it's empty or doesn't fit.
    package static func number(_ octets: some Collection<UInt8>) -> Int? {
        guard !octets.isEmpty else { return nil }
        var value = 0
        for octet in octets {
            guard isDigit(octet) else { return nil }
            let product = value.multipliedReportingOverflow(by: 10)
            let sum = product.partialValue.addingReportingOverflow(Int(octet - 0x30))
            guard !product.overflow, !sum.overflow else { return nil }
            value = sum.partialValue
        }
        return value
    }
}
