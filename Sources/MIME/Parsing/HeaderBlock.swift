/// Where one field lies in a header block.
package struct HeaderField: Sendable, Equatable {
    /// The whole field with all its line ends.
    package var whole: Range<Int>
    package var name: Range<Int>
    /// What follows the colon, without the last line end; folded as it is.
    package var value: Range<Int>
}

/// The header of a message or of a part of one (RFC 5322 §2.2): octets, and where the fields are in them.
///
/// Lines may end in CRLF or in LF. A line without a colon that continues nothing is skipped; the first empty line ends
/// the header.
package struct HeaderBlock: Sendable {
    package let octets: [UInt8]
    package let fields: [HeaderField]
    /// Whether there are lines that neither are fields nor continue one.
    package let hasJunk: Bool
    /// Whether there are more fields than wanted.
    package let hasMoreFields: Bool

    /// Finds the fields. Takes time in proportion to the octets.
    package init(_ octets: [UInt8], maximumFields: Int = .max) {
        self.octets = octets
        var hasJunk = false
        var hasMoreFields = false
        var fields: [HeaderField] = []
        var position = 0
        while position < octets.count {
            let next = Self.endOfLine(octets, from: position)
            let content = Self.withoutEnd(octets[position..<next])
            if content.isEmpty { break }
            if ASCII.isBlank(octets[position]) {
                if let last = fields.indices.last, fields[last].whole.upperBound == position {
                    fields[last].whole = fields[last].whole.lowerBound..<next
                    fields[last].value = fields[last].value.lowerBound..<content.endIndex
                } else {
                    hasJunk = true
                }
            } else if fields.count >= maximumFields {
                hasMoreFields = true
                break
            } else if let colon = content.firstIndex(of: UInt8(ascii: ":")) {
                var nameEnd = colon
                while nameEnd > position, ASCII.isBlank(octets[nameEnd - 1]) { nameEnd -= 1 }
                fields.append(
                    HeaderField(
                        whole: position..<next,
                        name: position..<nameEnd,
                        value: (colon + 1)..<content.endIndex
                    )
                )
                hasJunk = hasJunk || nameEnd == position || octets[position..<nameEnd].contains { $0 <= 0x20 }
            } else {
                hasJunk = true
            }
            position = next
        }
        self.fields = fields
        self.hasJunk = hasJunk
        self.hasMoreFields = hasMoreFields
    }

    private static func endOfLine(_ octets: [UInt8], from start: Int) -> Int {
        octets[start...].firstIndex(of: ASCII.lineFeed).map { $0 + 1 } ?? octets.count
    }

    private static func withoutEnd(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var line = line
        if line.last == ASCII.lineFeed { line.removeLast() }
        if line.last == ASCII.carriageReturn { line.removeLast() }
        return line
    }

    /// The field's name as it is written.
    package func name(of field: HeaderField) -> ArraySlice<UInt8> { octets[field.name] }

    /// The field's value, unfolded (RFC 5322 §2.2.3) and without white space at its ends.
    package func value(of field: HeaderField) -> [UInt8] {
        let trimmed = ASCII.trim(octets[field.value])
        return trimmed.filter { $0 != ASCII.carriageReturn && $0 != ASCII.lineFeed }
    }

    /// The unfolded value of the first field of that name, in any case; nil where there is none.
    package func first(_ name: StaticString) -> [UInt8]? {
        fields.first { ASCII.equal(octets[$0.name], name) }.map { value(of: $0) }
    }

    /// The unfolded values of all fields of that name, in any case.
    package func all(_ name: StaticString) -> [[UInt8]] {
        fields.compactMap { ASCII.equal(octets[$0.name], name) ? value(of: $0) : nil }
    }

    /// The unfolded values of all fields of that name.
    package func all(_ name: some Collection<UInt8>) -> [[UInt8]] {
        fields.compactMap { field in
            field.name.count == name.count && ASCII.equal(octets[field.name], name) ? value(of: field) : nil
        }
    }
}
