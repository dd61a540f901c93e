/// Character sets that text can be turned into UTF-8 from without tables.
package enum Charset: Sendable, Equatable {
    case utf8
    case latin1

    /// By its name; nil for one that isn't known.
    package init?(_ name: some Collection<UInt8>) {
        if ASCII.equal(name, "utf-8") || ASCII.equal(name, "us-ascii") || ASCII.equal(name, "utf8") {
            self = .utf8
        } else if ASCII.equal(name, "iso-8859-1") || ASCII.equal(name, "latin1") {
            self = .latin1
        } else {
            return nil
        }
    }

    /// The text in UTF-8.
    package func utf8(_ text: [UInt8]) -> [UInt8] {
        guard self == .latin1, text.contains(where: { $0 >= 0x80 }) else { return text }
        return text.flatMap { $0 < 0x80 ? [$0] : [0xC0 | $0 >> 6, 0x80 | $0 & 0x3F] }
    }
}

/// Encoded words in header fields (RFC 2047).
package enum EncodedWords {
    /// The value in UTF-8; words in character sets that aren't known stay as they are.
    package static func decode(_ value: [UInt8]) -> [UInt8] {
        guard value.contains(UInt8(ascii: "?")) else { return value }
        var text: [UInt8] = []
        var rest = value[...]
        var endOfWord: Int?  // where `text` ended after the last encoded word
        while let first = rest.first {
            if first == UInt8(ascii: "="), let (word, length) = word(rest) {
                // White space between two encoded words is not part of the text (§6.2).
                if let end = endOfWord, text[end...].allSatisfy(ASCII.isWhitespace) {
                    text.removeSubrange(end...)
                }
                text += word
                endOfWord = text.count
                rest = rest.dropFirst(length)
            } else {
                text.append(first)
                rest.removeFirst()
            }
        }
        return text
    }

    /// `=?charset?B?text?=` at the start: its meaning, and its length.
    private static func word(_ octets: ArraySlice<UInt8>) -> ([UInt8], Int)? {
        let parts = octets.prefix(1000).split(
            separator: UInt8(ascii: "?"),
            maxSplits: 4,
            omittingEmptySubsequences: false
        )
        guard parts.count == 5, parts[0] == [UInt8(ascii: "=")], parts[4].first == UInt8(ascii: "="),
            !parts[3].contains(where: ASCII.isWhitespace),
            let charset = Charset(parts[1].prefix { $0 != UInt8(ascii: "*") })
        else { return nil }
        var text: [UInt8] = []
        if ASCII.equal(parts[2], "B") {
            var decoder = TransferDecoder(.base64)
            decoder.decode(parts[3], into: &text)
        } else if ASCII.equal(parts[2], "Q") {
            var decoder = TransferDecoder(.quotedPrintable)
            decoder.decode(parts[3].map { $0 == UInt8(ascii: "_") ? ASCII.space : $0 }, into: &text)
            decoder.finish(into: &text)
        } else {
            return nil
        }
        return (charset.utf8(text), parts[4].startIndex + 1 - octets.startIndex)
    }
}
