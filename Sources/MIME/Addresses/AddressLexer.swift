/// Cuts an address field into words, quoted strings, comments and specials (RFC 5322 §3.2). What isn't closed is text: it
/// takes nothing of what follows with it. Every octet is looked at a bounded number of times.
struct AddressLexer {
    enum Kind: Equatable {
        case atom
        /// An encoded word of RFC 2047, whatever stands in it.
        case encodedWord
        case quoted
        case literal
        case comment
        case special(UInt8)
    }

    struct Token {
        var kind: Kind
        /// Its octets in the field, with the marks around them.
        var range: Range<Int>
        /// Whether white space or a comment stands before it.
        var hasBlankBefore: Bool

        func isSpecial(_ octet: UInt8) -> Bool { kind == .special(octet) }

        /// Whether it can be a part of a local part or of a domain.
        var isWord: Bool { kind == .atom || kind == .quoted || kind == .encodedWord }
    }

    let field: [UInt8]
    private var position = 0
    /// Whether quoted strings and comments end before the next `<`: some quote or parenthesis of the field is never closed,
    /// and which one it is can only be guessed.
    private let isBounded: Bool
    /// Quotes and parentheses before these places are known not to be closed.
    private var openQuotesEnd = 0
    private var openCommentsEnd = 0
    private var isBehindAt = false
    private(set) var hasUnclosed = false

    init(_ field: [UInt8]) {
        var lexer = AddressLexer(field, isBounded: false)
        while !lexer.hasUnclosed, lexer.next() != nil {}
        self.init(field, isBounded: lexer.hasUnclosed)
    }

    private init(_ field: [UInt8], isBounded: Bool) {
        self.field = field
        self.isBounded = isBounded
    }

    mutating func next() -> Token? {
        var hasBlank = false
        while position < field.count {
            let octet = field[position]
            if ASCII.isWhitespace(octet) {
                hasBlank = true
                position += 1
            } else if octet == ASCII.quote, quotedEnd() == nil {
                position += 1
            } else {
                break
            }
        }
        guard position < field.count else { return nil }
        let start = position
        let kind = kind(at: field[position])
        if kind != .comment { isBehindAt = kind == .special(UInt8(ascii: "@")) }
        return Token(kind: kind, range: start..<position, hasBlankBefore: hasBlank)
    }

    /// Goes behind the token that begins here.
    private mutating func kind(at octet: UInt8) -> Kind {
        if octet == ASCII.quote, let end = quotedEnd() {
            position = end
            return .quoted
        }
        if octet == UInt8(ascii: "(") {
            guard let end = commentEnd() else {
                position += 1
                return .atom
            }
            position = end
            return .comment
        }
        if octet == UInt8(ascii: "["), isBehindAt, let end = literalEnd() {
            position = end
            return .literal
        }
        if let length = encodedWord(at: position) {
            position += length
            return .encodedWord
        }
        if Self.isSpecial(octet) {
            position += 1
            return .special(octet)
        }
        position += 1
        while position < field.count, !Self.endsAtom(field[position]), encodedWord(at: position) == nil {
            position += 1
        }
        return .atom
    }

    private func encodedWord(at index: Int) -> Int? {
        field[index] == UInt8(ascii: "=") ? EncodedWords.length(field[index...]) : nil
    }

    private static func endsAtom(_ octet: UInt8) -> Bool {
        isSpecial(octet) || ASCII.isWhitespace(octet) || octet == ASCII.quote || octet == UInt8(ascii: "(")
    }

    static func isSpecial(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "@"), UInt8(ascii: ","), UInt8(ascii: ";"),
            UInt8(ascii: ":"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    // MARK: Ends

    /// Where the quoted string ends that begins here; nil where nothing closes it.
    private mutating func quotedEnd() -> Int? {
        guard position >= openQuotesEnd else { return nil }
        var index = position + 1
        while index < field.count {
            let octet = field[index]
            if octet == ASCII.quote { return index + 1 }
            if isBounded, octet == UInt8(ascii: "<") { break }
            index += octet == ASCII.backslash ? 2 : 1
        }
        hasUnclosed = true
        openQuotesEnd = index
        return nil
    }

    /// Where the comment ends that begins here; nil where nothing closes it.
    private mutating func commentEnd() -> Int? {
        guard position >= openCommentsEnd else { return nil }
        var depth = 0
        var index = position
        while index < field.count {
            let octet = field[index]
            if isBounded, octet == UInt8(ascii: "<") { break }
            if octet == UInt8(ascii: "(") { depth += 1 }
            if octet == UInt8(ascii: ")") {
                depth -= 1
                if depth == 0 { return index + 1 }
            }
            index += encodedWord(at: index) ?? (octet == ASCII.backslash ? 2 : 1)
        }
        hasUnclosed = true
        openCommentsEnd = index
        return nil
    }

    /// Where the domain literal ends that begins here; nil where it's none.
    private func literalEnd() -> Int? {
        var index = position + 1
        while index < field.count {
            switch field[index] {
            case UInt8(ascii: "]"): return index + 1
            case UInt8(ascii: "["), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: ","), UInt8(ascii: ";"):
                return nil
            case ASCII.backslash: index += 2
            default: index += 1
            }
        }
        return nil
    }

    // MARK: Values

    /// What the token means: a quoted string or a comment without its marks and backslashes, all else as it is written.
    func value(_ token: Token) -> [UInt8] {
        let octets = field[token.range]
        switch token.kind {
        case .quoted: return Self.unescaped(octets.dropFirst().dropLast())
        case .comment: return Array(ASCII.trim(Self.unescaped(octets.dropFirst().dropLast())[...]))
        case .literal: return Self.unescaped(octets)
        case .atom, .encodedWord, .special: return Array(octets)
        }
    }

    private static func unescaped(_ octets: ArraySlice<UInt8>) -> [UInt8] {
        var rest = octets
        var text: [UInt8] = []
        while let octet = rest.popFirst() { text.append(octet == ASCII.backslash ? rest.popFirst() ?? octet : octet) }
        return text
    }

    /// The tokens as text: with a blank where there is white space between them, or words that are not one.
    func text(_ tokens: some Sequence<Token>) -> [UInt8] {
        var text: [UInt8] = []
        var previous: Kind?
        for token in tokens {
            let isApart =
                token.hasBlankBefore || token.isWord && previous == .quoted
                || token.kind == .quoted && previous == .atom
            if previous != nil, isApart { text.append(ASCII.space) }
            text += value(token)
            previous = token.kind
        }
        return text
    }
}
