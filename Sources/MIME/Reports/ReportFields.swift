/// The body of a report for programs: blocks of header fields with empty lines between (RFC 3464 §2.1, RFC 8098 §3.1).
package struct ReportFields: Sendable {
    package let blocks: [HeaderBlock]
    /// Whether there are more blocks than are kept.
    package let hasMore: Bool

    /// The most fields of a block that are kept where nothing else is asked for.
    package static let maximumFields = 200

    /// Reads the decoded body. Takes time in proportion to the octets.
    ///
    /// - Parameters:
    ///   - maximum: blocks that are kept.
    ///   - maximumFields: fields of a block that are kept.
    package init(_ body: [UInt8], maximum: Int, maximumFields: Int = ReportFields.maximumFields) {
        var blocks: [HeaderBlock] = []
        var start: Int?
        var position = 0
        var hasMore = false
        func end(at place: Int) {
            guard let from = start else { return }
            start = nil
            guard blocks.count < maximum else {
                hasMore = true
                return
            }
            blocks.append(HeaderBlock(Array(body[from..<place]), maximumFields: maximumFields))
        }
        while position < body.count, !hasMore {
            let next = body[position...].firstIndex(of: ASCII.lineFeed).map { $0 + 1 } ?? body.count
            // Many reports have blanks in the lines between.
            if body[position..<next].allSatisfy(ASCII.isWhitespace) {
                end(at: position)
            } else if start == nil {
                start = position
            }
            position = next
        }
        end(at: body.count)
        self.blocks = blocks
        self.hasMore = hasMore
    }
}

extension ReportFields {
    /// The fields of a report that is one block, also where empty lines cut it; nil without any.
    static func whole(_ body: [UInt8]) -> HeaderBlock? {
        let blocks = ReportFields(body, maximum: maximumFields).blocks
        return blocks.isEmpty
            ? nil : HeaderBlock(Array(blocks.map(\.octets).joined()), maximumFields: maximumFields)
    }
}

/// A field's name and its value in UTF-8.
package struct ReportField: Sendable, Equatable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// `type; value`, as reports name addresses, hosts and diagnoses (RFC 3464 §2.1.2).
package struct ReportValue: Sendable, Equatable {
    /// Such as `rfc822`, `dns` or `smtp`, in lower case; empty where there is none.
    package var type: String
    package var value: String

    package init(_ type: String, _ value: String) {
        self.type = type
        self.value = value
    }

    /// Reads an unfolded value. `\x{…}` in addresses of the type `utf-8` is decoded (RFC 6533 §3).
    init(field: String) {
        let parts = field.split(separator: ";", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else {
            self.init("", field)
            return
        }
        let type = String(decoding: ASCII.trim(Array(parts[0].utf8)[...]).map(ASCII.lower), as: UTF8.self)
        let value = String(decoding: ASCII.trim(Array(parts[1].utf8)[...]), as: UTF8.self)
        self.init(type, type == "utf-8" ? Self.withoutEscapes(value) : value)
    }

    private static func withoutEscapes(_ text: String) -> String {
        guard text.contains("\\x{") else { return text }
        var result = ""
        for (index, piece) in text.components(cutAt: "\\x{").enumerated() {
            guard index > 0 else {
                result += piece
                continue
            }
            let digits = piece.prefix { $0 != "}" }
            if digits.utf8.count <= 6, digits.count < piece.count, let number = UInt32(digits, radix: 16),
                let scalar = Unicode.Scalar(number)
            {
                result.unicodeScalars.append(scalar)
                result += piece.dropFirst(digits.count + 1)
            } else {
                result += "\\x{" + piece
            }
        }
        return result
    }

    /// As it is written; characters beyond ASCII of addresses as `\x{…}`, others as question marks, since these bodies are
    /// sent in seven bits.
    var field: String { field(keepsUTF8: false) }

    /// The same; where UTF-8 may stand (RFC 6533), with addresses as they are.
    func field(keepsUTF8: Bool) -> String {
        let isUTF8 = type == "utf-8"
        var text = ""
        for scalar in value.unicodeScalars {
            if scalar.value >= 0x20, scalar.value < 0x7F {
                text.unicodeScalars.append(scalar)
            } else if isUTF8, keepsUTF8, scalar.value >= 0xA0 {
                text.unicodeScalars.append(scalar)
            } else if isUTF8 {
                text += "\\x{\(String(scalar.value, radix: 16, uppercase: true))}"
            } else {
                text += "?"
            }
        }
        return type.isEmpty ? text : "\(type); \(text)"
    }
}

extension String {
    /// The text between the marks.
    fileprivate func components(cutAt mark: String) -> [Substring] {
        var pieces: [Substring] = []
        var rest = self[...]
        while let range = rest.firstRange(of: mark) {
            pieces.append(rest[..<range.lowerBound])
            rest = rest[range.upperBound...]
        }
        return pieces + [rest]
    }
}

extension HeaderBlock {
    /// The first field of that name as text; nil where there is none or it's empty.
    func text(_ name: StaticString) -> String? {
        guard let value = first(name), !value.isEmpty else { return nil }
        return EncodedWords.text(value)
    }

    /// The first word of the first field of that name, in lower case, without comments; nil where there is none.
    func word(_ name: StaticString) -> String? {
        guard let value = first(name), !value.isEmpty else { return nil }
        return String(decoding: FieldScanner.word(value).word.map(ASCII.lower), as: UTF8.self)
    }

    func reportValue(_ name: StaticString) -> ReportValue? { text(name).map { ReportValue(field: $0) } }

    func date(_ name: StaticString) -> DateTime? { first(name).flatMap { DateTime(field: $0) } }

    /// The fields whose names are none of these.
    func others(than names: [StaticString]) -> [ReportField] {
        fields.compactMap { field in
            let name = name(of: field)
            if names.contains(where: { ASCII.equal(name, $0) }) { return nil }
            return ReportField(String(decoding: name, as: UTF8.self), EncodedWords.text(value(of: field)))
        }
    }
}

extension HeaderBuilder {
    /// A field of a report, folded at its blanks; nothing where there is no value.
    mutating func add(_ name: String, report value: String?, isUTF8: Bool = false) throws(BuildError) {
        guard let value, !value.isEmpty else { return }
        let plain = value.utf8.map { $0 >= 0x80 && !isUTF8 ? UInt8(ascii: "?") : $0 }
        try add(name, words: plain.split(separator: ASCII.space).map { Array($0) })
    }

    mutating func add(_ name: String, report date: DateTime?) throws(BuildError) {
        try add(name, report: date?.description)
    }
}
