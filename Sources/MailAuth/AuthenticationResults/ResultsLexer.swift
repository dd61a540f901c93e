import MIME

/// Takes an Authentication-Results field apart: words, quoted strings and single characters, with comments and folding
/// between them (RFC 8601 §2.2, RFC 5322 §3.2.2).
struct ResultsLexer {
    private let octets: ArraySlice<UInt8>
    private var position: Int
    /// The text of comments that were passed over since `takeComments`.
    private var comments: [[UInt8]] = []

    init(_ octets: ArraySlice<UInt8>) {
        self.octets = octets
        position = octets.startIndex
    }

    /// Whether only white space and comments are left.
    mutating func isAtEnd() -> Bool {
        skip()
        return position == octets.endIndex
    }

    /// The comments since the last call.
    mutating func takeComments() -> [[UInt8]] {
        defer { comments = [] }
        return comments
    }

    /// Takes one character if it's next.
    mutating func take(_ octet: UInt8) -> Bool {
        skip()
        guard position < octets.endIndex, octets[position] == octet else { return false }
        position += 1
        return true
    }

    /// Whether that character is next.
    mutating func isNext(_ octet: UInt8) -> Bool {
        skip()
        return position < octets.endIndex && octets[position] == octet
    }

    /// Letters, digits, hyphens and underscores: the name of a method, a result, a property. nil where there are none.
    mutating func keyword() -> [UInt8]? {
        word { ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
    }

    /// A quoted string, or what isn't interrupted by white space, a comment or a semicolon. nil where there is nothing.
    mutating func value() -> [UInt8]? {
        if isNext(ASCII.quote) { return quotedString() }
        return word {
            $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: "(") && $0 != ASCII.quote
        }
    }

    private mutating func word(_ belongs: (UInt8) -> Bool) -> [UInt8]? {
        skip()
        let start = position
        while position < octets.endIndex, belongs(octets[position]) { position += 1 }
        return position > start ? Array(octets[start..<position]) : nil
    }

    /// nil where it doesn't end.
    private mutating func quotedString() -> [UInt8]? {
        position += 1
        var text: [UInt8] = []
        while position < octets.endIndex {
            let octet = octets[position]
            position += 1
            switch octet {
            case ASCII.quote: return text
            case ASCII.backslash where position < octets.endIndex:
                text.append(octets[position])
                position += 1
            case ASCII.carriageReturn, ASCII.lineFeed: continue
            default: text.append(octet)
            }
        }
        return nil
    }

    /// Passes over white space and comments, which nest. One that doesn't end takes all the rest.
    private mutating func skip() {
        while position < octets.endIndex {
            if ASCII.isWhitespace(octets[position]) {
                position += 1
            } else if octets[position] == UInt8(ascii: "(") {
                comment()
            } else {
                return
            }
        }
    }

    private mutating func comment() {
        var text: [UInt8] = []
        var depth = 0
        while position < octets.endIndex {
            let octet = octets[position]
            position += 1
            if octet == UInt8(ascii: "(") { depth += 1 }
            if octet == UInt8(ascii: ")") { depth -= 1 }
            if depth == 0 { break }
            if octet == ASCII.backslash, position < octets.endIndex {
                text.append(octets[position])
                position += 1
            } else if octet != ASCII.carriageReturn, octet != ASCII.lineFeed {
                text.append(octet)
            }
        }
        comments.append(Array(text.dropFirst()))
    }
}
