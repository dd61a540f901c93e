/// The octets by which SORT compares a text: letters of the Latin alphabet with marks stand right behind the same letters without,
/// as i;unicode-casemap has them (RFC 5051 §2, RFC 5256 §2.2), which takes them apart. That they have marks is taken from their
/// names; all else is in the order of Unicode.
enum SortKey {
    /// - Parameter folded: in UTF-8 and in lower case.
    /// - Returns: at most so many octets, and a few.
    static func octets(_ folded: [UInt8], maximum: Int) -> [UInt8] {
        guard folded.contains(where: { $0 >= 0x80 }) else { return Array(folded.prefix(maximum)) }
        var key: [UInt8] = []
        for scalar in String(decoding: folded.prefix(maximum), as: UTF8.self).unicodeScalars {
            if let base = base(scalar) { key.append(base) }
            key += String(scalar).utf8
        }
        return key
    }

    /// The letter that one with a mark is without it, such as `u` of `LATIN SMALL LETTER U WITH DIAERESIS`.
    private static func base(_ scalar: Unicode.Scalar) -> UInt8? {
        // Latin letters with marks are in these blocks.
        guard (0xC0...0x24F).contains(scalar.value) || (0x1E00...0x1EFF).contains(scalar.value),
            let name = scalar.properties.name?.utf8
        else { return nil }
        let start = "LATIN SMALL LETTER ".utf8
        guard name.starts(with: start) else { return nil }
        let rest = name.dropFirst(start.count)
        guard let letter = rest.first, rest.dropFirst().starts(with: " WITH ".utf8) else { return nil }
        return letter | 0x20
    }
}
