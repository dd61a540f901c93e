/// Octets of US-ASCII and comparisons that know no locale.
///
/// Public, since Swift 6.3 inlines nothing into other modules that is of the package alone, and these are asked for each octet.
public enum ASCII {
    /// NUL.
    @inlinable public static var nul: UInt8 { 0 }
    /// Horizontal tab.
    @inlinable public static var tab: UInt8 { 9 }
    /// LF.
    @inlinable public static var lineFeed: UInt8 { 10 }
    /// CR.
    @inlinable public static var carriageReturn: UInt8 { 13 }
    /// Space.
    @inlinable public static var space: UInt8 { 32 }
    /// The double quote.
    @inlinable public static var quote: UInt8 { UInt8(ascii: "\"") }
    /// The backslash.
    @inlinable public static var backslash: UInt8 { UInt8(ascii: "\\") }

    /// The octet in lower case, if it's a letter of ASCII.
    @inline(__always)
    @inlinable
    public static func lower(_ octet: UInt8) -> UInt8 {
        octet >= 0x41 && octet <= 0x5A ? octet | 0x20 : octet
    }

    /// The octet in upper case, if it's a letter of ASCII.
    @inline(__always)
    @inlinable
    public static func upper(_ octet: UInt8) -> UInt8 {
        octet >= 0x61 && octet <= 0x7A ? octet & 0xDF : octet
    }

    /// 0 to 9.
    @inlinable
    public static func isDigit(_ octet: UInt8) -> Bool { octet >= 0x30 && octet <= 0x39 }

    /// A to Z, in either case.
    @inlinable
    public static func isLetter(_ octet: UInt8) -> Bool { (0x61...0x7A).contains(octet | 0x20) }

    /// Space or tab.
    @inlinable
    public static func isBlank(_ octet: UInt8) -> Bool { octet == space || octet == tab }

    /// Space, tab, CR or LF.
    @inlinable
    public static func isWhitespace(_ octet: UInt8) -> Bool {
        octet == space || octet == tab || octet == lineFeed || octet == carriageReturn
    }

    /// Whether the octets are that word, in any case.
    @inlinable
    public static func equal(_ octets: some Collection<UInt8>, _ word: StaticString) -> Bool {
        octets.count == word.utf8CodeUnitCount
            && word.withUTF8Buffer { word in octets.elementsEqual(word) { lower($0) == lower($1) } }
    }

    /// Whether both are the same word, in any case.
    @inlinable
    public static func equal(_ one: some Sequence<UInt8>, _ other: some Sequence<UInt8>) -> Bool {
        one.elementsEqual(other) { lower($0) == lower($1) }
    }

    /// Without white space at both ends.
    @inlinable
    public static func trim(_ octets: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var (start, end) = (octets.startIndex, octets.endIndex)
        while start < end, isWhitespace(octets[start]) { start += 1 }
        while start < end, isWhitespace(octets[end - 1]) { end -= 1 }
        return octets[start..<end]
    }

    /// The value of a hexadecimal digit.
    @inlinable
    public static func hexadecimal(_ octet: UInt8) -> UInt8? {
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
    @inlinable
    public static func number(_ octets: some Collection<UInt8>) -> Int? {
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
