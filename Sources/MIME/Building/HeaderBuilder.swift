/// Why something can't be put into a message.
package enum BuildError: Error, Equatable {
    /// A CR, LF or NUL where only a line's text may stand.
    case lineBreak(field: String)
    case badFieldName(String)
    case badAddress(String)
    case badType(String)
    /// A multipart without parts, or too deep; a report with an empty block.
    case badStructure
}

/// Writes header fields: folded at 78 characters (RFC 5322 §2.1.1), encoded where they aren't ASCII, and never more than
/// the one field that was asked for.
package struct HeaderBuilder: Sendable {
    package private(set) var octets: [UInt8] = []
    /// Whether an address needs a transport for UTF-8 (RFC 6531).
    package private(set) var needsUTF8 = false
    private var column = 0

    private static let width = 78

    package init() {}

    /// A field of free text, such as Subject.
    package mutating func add(_ name: String, text: String) throws(BuildError) {
        try check(name, text)
        begin(name)
        let octets = Array(text.utf8)
        let words = octets.split(separator: ASCII.space, omittingEmptySubsequences: false)
        let isPlain =
            octets.allSatisfy { $0 >= 0x20 && $0 < 0x7F } && !text.contains("=?") && octets.last != ASCII.space
            && octets.first != ASCII.space && words.allSatisfy { !$0.isEmpty && $0.count <= 900 }
        for word in isPlain ? words.map({ Array($0) }) : EncodedWords.encode(text, first: Self.width - column - 2) {
            put(word)
        }
        endField()
    }

    /// A field of words that are already as they must be, such as Message-ID or Date.
    package mutating func add(_ name: String, words: [[UInt8]]) throws(BuildError) {
        for word in words { try check(name, String(decoding: word, as: UTF8.self)) }
        begin(name)
        for word in words { put(word) }
        endField()
    }

    /// A field of addresses, perhaps in groups. A group begins with an entry without host and ends with an empty one.
    package mutating func add(_ name: String, addresses: [ListedAddress]) throws(BuildError) {
        try check(name, "")
        var fields: [[[UInt8]]] = []
        var isAfterGroupStart = false
        for address in addresses {
            var words: [[UInt8]] = []
            if address.host == nil, let group = address.mailbox {
                let shown = try text(group, name)
                words = ListedAddress.phrase(shown)
                // With a colon behind it, this would be no group's name.
                if words.last.map({ ASCII.equal($0, "mailto") }) ?? false {
                    words = [ListedAddress.quoted(Array(shown.utf8))]
                }
                if words.isEmpty { words = [[]] }
                words[words.count - 1].append(UInt8(ascii: ":"))
                isAfterGroupStart = true
            } else if address.host == nil {
                guard let last = fields.indices.last, let word = fields[last].indices.last else { continue }
                fields[last][word].append(UInt8(ascii: ";"))
                isAfterGroupStart = false
                continue
            } else {
                words = try self.words(of: address, name)
            }
            if let last = fields.indices.last, let word = fields[last].indices.last,
                fields[last][word].last != UInt8(ascii: ":") || !isAfterGroupStart || address.host == nil
            {
                fields[last][word].append(UInt8(ascii: ","))
            }
            fields.append(words)
        }
        begin(name)
        for word in fields.joined() { put(word) }
        endField()
    }

    /// A structured field with parameters, such as Content-Type (RFC 2045 §5.1, RFC 2231).
    package mutating func add(
        _ name: String,
        value: String,
        parameters: [(name: String, value: String)]
    ) throws(BuildError) {
        try check(name, value)
        for parameter in parameters { try check(parameter.name, parameter.value) }
        begin(name)
        var words = [Array(value.utf8)]
        for parameter in parameters {
            for text in ExtendedParameter.encode(parameter.name, parameter.value) {
                words[words.count - 1].append(UInt8(ascii: ";"))
                words.append(Array(text.utf8))
            }
        }
        for word in words { put(word) }
        endField()
    }

    // MARK: Words

    private mutating func words(of address: ListedAddress, _ field: String) throws(BuildError) -> [[UInt8]] {
        guard let specification = address.specification else {
            let shown = (address.mailbox ?? []) + [UInt8(ascii: "@")] + (address.host ?? [])
            throw .badAddress(String(decoding: shown, as: UTF8.self))
        }
        needsUTF8 = needsUTF8 || address.needsUTF8
        guard let name = address.name else { return [specification] }
        let text = try text(name, field)
        guard !text.isEmpty else { return [specification] }
        return ListedAddress.phrase(text) + [[UInt8(ascii: "<")] + specification + [UInt8(ascii: ">")]]
    }

    private func text(_ words: [UInt8], _ field: String) throws(BuildError) -> String {
        let text = EncodedWords.text(words)
        try check(field, text)
        return text
    }

    /// What could begin another field is refused, never repaired.
    private func check(_ name: String, _ text: String) throws(BuildError) {
        guard !name.isEmpty, name.utf8.count <= 76,
            name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") })
        else { throw .badFieldName(name) }
        guard !text.utf8.contains(where: { $0 == 0 || $0 == ASCII.carriageReturn || $0 == ASCII.lineFeed }) else {
            throw .lineBreak(field: name)
        }
    }

    private mutating func begin(_ name: String) {
        octets += name.utf8
        octets.append(UInt8(ascii: ":"))
        column = name.utf8.count + 1
    }

    /// A word with white space before it: a blank, or a new line where the line would be too long.
    private mutating func put(_ word: [UInt8]) {
        // The first word stays in the field's line unless it would be longer than is allowed at all.
        let isFirst = octets.last == UInt8(ascii: ":")
        if column + 1 + word.count > (isFirst ? 990 : Self.width), column > 1 {
            octets += [ASCII.carriageReturn, ASCII.lineFeed]
            column = 0
        }
        octets.append(ASCII.space)
        octets += word
        column += 1 + word.count
    }

    private mutating func endField() { octets += [ASCII.carriageReturn, ASCII.lineFeed] }
}
