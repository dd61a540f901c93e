/// Message-ids (RFC 5322 §3.6.4).
package enum MessageIdentifiers {
    /// Those of a field such as References, with their brackets and without white space, at most so many; comments and what
    /// is no such thing are left out.
    ///
    /// Words without brackets count, and get them, where all words outside of brackets look like identifiers: programs
    /// write such fields, while people's words, with addresses among them, stand there too (§4.5.4). So does a word that
    /// is all there is.
    package static func list(_ field: [UInt8], maximum: Int = 1000) -> [[UInt8]] {
        var reader = Reader()
        for octet in field where reader.found.count < maximum { reader.take(octet) }
        reader.finish()
        let words = reader.found.filter { !$0.isInBrackets }
        let areIdentifiers = !reader.hasQuoted && words.allSatisfy { isPair($0.text) }
        let isAlone = !reader.hasQuoted && reader.found.count == 1
        return reader.found.prefix(maximum).compactMap { entry in
            guard entry.isInBrackets || areIdentifiers || isAlone else { return nil }
            return [UInt8(ascii: "<")] + entry.text + [UInt8(ascii: ">")]
        }
    }

    /// Whether it's something on both sides of one `@`.
    private static func isPair(_ word: [UInt8]) -> Bool {
        let sides = word.split(separator: UInt8(ascii: "@"), omittingEmptySubsequences: false)
        return sides.count == 2 && sides.allSatisfy { !$0.isEmpty }
    }

    /// Cuts a field into what stands in brackets and words outside of them.
    private struct Reader {
        private(set) var found: [(text: [UInt8], isInBrackets: Bool)] = []
        /// Whether there is a quoted string outside of brackets.
        private(set) var hasQuoted = false
        private var text: [UInt8] = []
        private var isInBrackets = false
        /// Within brackets, where the first blank is: what follows it counts only if the bracket is closed.
        private var blank: Int?
        private var depth = 0
        private var isQuoted = false
        private var isEscaped = false

        mutating func take(_ octet: UInt8) {
            if isEscaped {
                isEscaped = false
                if depth == 0 { text.append(octet) }
            } else if depth > 0 {
                isEscaped = octet == ASCII.backslash
                if octet == UInt8(ascii: "(") { depth += 1 } else if octet == UInt8(ascii: ")") { depth -= 1 }
            } else if isQuoted {
                isQuoted = octet != ASCII.quote
                isEscaped = octet == ASCII.backslash
                text.append(octet)
            } else {
                takePlain(octet)
            }
        }

        private mutating func takePlain(_ octet: UInt8) {
            switch octet {
            case UInt8(ascii: "("): depth = 1
            case UInt8(ascii: "<"):
                finish()
                isInBrackets = true
            case UInt8(ascii: ">"):
                if isInBrackets { blank = nil }
                end(isInBrackets: isInBrackets)
            case ASCII.space, ASCII.tab, ASCII.carriageReturn, ASCII.lineFeed:
                if isInBrackets { blank = blank ?? text.count } else { end(isInBrackets: false) }
            case UInt8(ascii: ","), UInt8(ascii: ";"):
                if isInBrackets { text.append(octet) } else { end(isInBrackets: false) }
            default:
                if octet == ASCII.quote {
                    isQuoted = true
                    hasQuoted = hasQuoted || !isInBrackets
                }
                text.append(octet)
            }
        }

        /// A word ends, or the text in brackets.
        private mutating func end(isInBrackets: Bool) {
            if !text.isEmpty { found.append((text, isInBrackets)) }
            text = []
            self.isInBrackets = false
        }

        /// The field ends, or another bracket opens: the one that is open is not closed.
        mutating func finish() {
            if let blank { text.removeLast(text.count - blank) }
            blank = nil
            end(isInBrackets: false)
        }
    }

    /// Whether the value is one identifier with brackets and something on both sides of its `@`, comments aside.
    package static func isOne(_ field: [UInt8]) -> Bool {
        let found = list(field, maximum: 2)
        guard found.count == 1, let at = found[0].lastIndex(of: UInt8(ascii: "@")) else { return false }
        guard at > 1, at < found[0].count - 2, found[0].allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else { return false }
        var depth = 0
        var isInside = false
        for octet in field {
            switch octet {
            case UInt8(ascii: "<") where depth == 0: isInside = true
            case UInt8(ascii: ">") where depth == 0: isInside = false
            case UInt8(ascii: "(") where !isInside: depth += 1
            case UInt8(ascii: ")") where !isInside: depth -= 1
            case _ where !isInside && depth == 0 && !ASCII.isWhitespace(octet): return false
            default: continue
            }
        }
        return true
    }
}
