/// Reads tokens, quoted strings and parameters of structured fields (RFC 2045 §5.1), and of what people write for them.
/// Takes time in proportion to the octets.
struct FieldScanner {
    private var rest: ArraySlice<UInt8>
    /// Whether the parentheses that are open so far are closed somewhere.
    private var hasComments = true
    /// Whether names in quotes are looked through for quotes in them: not after one whose end wasn't found, so that none is
    /// looked at twice.
    private var hasNames = true
    /// Whether quoted strings may have an end: not behind one that has none, so that none is looked at twice.
    private var hasQuotes = true
    /// Whether a quoted string was read that nothing closes, or that has quotes in it.
    private(set) var hasWrongQuotes = false

    init(_ field: [UInt8]) { rest = field[...] }

    // MARK: Words

    mutating func token() -> [UInt8] {
        skipBlanks()
        let token = rest.prefix(while: Self.isTokenCharacter)
        rest = rest[token.endIndex...]
        return Array(token)
    }

    private static func isTokenCharacter(_ octet: UInt8) -> Bool {
        octet > 0x20 && octet != 0x7F && !specials.contains(octet)
    }

    private static let specials = Set("()<>@,;:\\\"/[]?=".utf8)

    /// The text of a quoted string, where one begins here.
    mutating func quoted() -> [UInt8]? {
        skipBlanks()
        return takeQuoted()?.text
    }

    /// - Parameter isPath: whether backslashes stand for themselves, but before quotes and other backslashes.
    private mutating func takeQuoted(isPath: Bool = false) -> (text: [UInt8], hasEnd: Bool)? {
        guard rest.first == ASCII.quote else { return nil }
        rest.removeFirst()
        var text: [UInt8] = []
        while let octet = rest.popFirst() {
            if octet == ASCII.quote { return (text, true) }
            let isEscape = octet == ASCII.backslash && (!isPath || Self.isEscaped(rest.first))
            text.append(isEscape ? rest.popFirst() ?? octet : octet)
        }
        hasWrongQuotes = true
        hasQuotes = false
        return (text, false)
    }

    /// The first word of a field, such as of Content-Transfer-Encoding, in quotes or not; the whole field where it has
    /// none. And whether it's alone, comments aside, as it should be.
    static func word(_ field: [UInt8]) -> (word: [UInt8], isAlone: Bool) {
        var scanner = FieldScanner(field)
        let quoted = scanner.quoted()
        let word = quoted.map { Array(ASCII.trim($0[...])) } ?? scanner.token()
        guard !word.isEmpty else { return (Array(ASCII.trim(field[...])), true) }
        scanner.skipBlanks()
        return (word, quoted == nil && scanner.rest.isEmpty)
    }

    // MARK: Parameters

    /// What a value that nobody quoted may hold besides a token.
    private enum Kind {
        /// Blanks, parentheses and quotes.
        case fileName
        /// Parentheses without blanks before them: a boundary may have them, in quotes (RFC 2046 §5.1.1).
        case boundary
        case other

        init(_ name: [UInt8]) {
            let names: [(StaticString, Self)] = [("filename", .fileName), ("name", .fileName), ("boundary", .boundary)]
            // The marks of RFC 2231 make no other kind of them.
            let plain = name.prefix { $0 != UInt8(ascii: "*") }
            self = names.first { ASCII.equal(plain, $0.0) }?.1 ?? .other
        }
    }

    /// `name=value` (RFC 2045 §5.1); nil where no name is.
    mutating func parameter() -> MIMEParameter? {
        let name = token()
        skipBlanks()
        guard !name.isEmpty, take(UInt8(ascii: "=")) else { return nil }
        return MIMEParameter(name: name, value: value(Kind(name)))
    }

    /// Semicolons, and commas and colons in their place; whether there was a semicolon.
    mutating func skipSeparators() -> Bool {
        var isSeparated = false
        skipBlanks()
        while let first = rest.first,
            first == UInt8(ascii: ";") || first == UInt8(ascii: ",") || first == UInt8(ascii: ":")
        {
            isSeparated = isSeparated || first == UInt8(ascii: ";")
            rest.removeFirst()
            skipBlanks()
        }
        return isSeparated
    }

    private mutating func value(_ kind: Kind) -> [UInt8] {
        rest = rest.drop(while: ASCII.isWhitespace)
        let before = self
        skipBlanks()
        // Before a name nobody quoted, parentheses are a part of it.
        if kind == .fileName, rest.first != ASCII.quote { self = before }
        if kind == .fileName, let name = quotedName() { return name }
        if hasQuotes {
            let before = rest
            if let quoted = takeQuoted(isPath: kind == .fileName), quoted.hasEnd { return quoted.text }
            rest = before
        }
        // Without an end, it's as if it had no beginning.
        if take(ASCII.quote) { hasWrongQuotes = true }
        return unquoted(kind)
    }

    /// A file's name in quotes with quotes in it that should have been escaped; nil where it's a quoted string as others,
    /// or too long to be sure.
    private mutating func quotedName() -> [UInt8]? {
        guard rest.first == ASCII.quote, hasNames else { return nil }
        var end = rest.dropFirst()
        var text: [UInt8] = []
        var hasQuotes = false
        while text.count < Self.longestName, let octet = end.popFirst() {
            if octet == ASCII.quote {
                if Self.endsValue(end) {
                    guard hasQuotes else { return nil }
                    rest = end
                    hasWrongQuotes = true
                    return text
                }
                hasQuotes = true
            }
            let isEscape = octet == ASCII.backslash && Self.isEscaped(end.first)
            text.append(isEscape ? end.popFirst() ?? octet : octet)
        }
        hasNames = false
        return nil
    }

    private static let longestName = 4096

    /// Whether a backslash before it is one of MIME and none of a path that somebody forgot to escape.
    private static func isEscaped(_ octet: UInt8?) -> Bool { octet == ASCII.quote || octet == ASCII.backslash }

    /// Whether nothing of a value stands here any more, but another parameter or nothing does.
    private static func endsValue(_ rest: ArraySlice<UInt8>) -> Bool {
        let next = rest.prefix(1000).drop(while: ASCII.isWhitespace)
        switch next.first {
        case nil, UInt8(ascii: ";"), UInt8(ascii: ","): return true
        case UInt8(ascii: "("): return next.startIndex > rest.startIndex
        default: return beginsParameter(next)
        }
    }

    /// A value that nobody quoted: names with blanks, slashes and parentheses are common.
    private mutating func unquoted(_ kind: Kind) -> [UInt8] {
        var text: [UInt8] = []
        var lastComment: Int?
        /// Where what looks like a parameter and is the rest of a name ends.
        var nameEnd: Int?
        while let octet = rest.first {
            if octet == UInt8(ascii: ";") {
                guard kind == .fileName, !Self.hasExtension(ASCII.trim(text[...])), Self.isRestOfName(rest.dropFirst())
                else { break }
            }
            let isBehindBlank = text.last.map(ASCII.isWhitespace) ?? false
            if isBehindBlank, rest.startIndex >= nameEnd ?? 0, Self.beginsParameter(rest) {
                guard kind == .fileName, nameEnd == nil, !Self.hasExtension(ASCII.trim(text[...])) else { break }
                nameEnd = Self.endOfName(rest)
                guard nameEnd != nil else { break }
            }
            // An encoded word is one, whatever is in it.
            if octet == UInt8(ascii: "="), let length = EncodedWords.length(rest) {
                text += rest.prefix(length)
                rest = rest.dropFirst(length)
                continue
            }
            let before = rest
            if octet == UInt8(ascii: "("), skipComment() {
                let isKept =
                    switch kind {
                    case .fileName: true
                    case .boundary: !text.isEmpty && !isBehindBlank
                    case .other: false
                    }
                if kind == .fileName, isBehindBlank { lastComment = text.count }
                if isKept { text += before[..<rest.startIndex] }
                continue
            }
            text.append(octet)
            rest.removeFirst()
        }
        if let lastComment, ASCII.trim(text[...]).last == UInt8(ascii: ")"),
            Self.hasExtension(ASCII.trim(text[..<lastComment]))
        {
            text.removeLast(text.count - lastComment)
        }
        var trimmed = ASCII.trim(text[...])
        // The quote at the beginning is missing.
        if kind == .fileName, trimmed.last == ASCII.quote, trimmed.dropLast().allSatisfy({ $0 != ASCII.quote }) {
            hasWrongQuotes = true
            trimmed.removeLast()
        }
        // A comma in the place of the semicolon.
        if trimmed.last == UInt8(ascii: ","), let next = rest.first, next != UInt8(ascii: ";") {
            trimmed = ASCII.trim(trimmed.dropLast())
        }
        return Array(trimmed)
    }

    /// Whether a file's name ends in what looks like `.pdf`.
    private static func hasExtension(_ name: ArraySlice<UInt8>) -> Bool {
        guard let dot = name.lastIndex(of: UInt8(ascii: ".")) else { return false }
        let letters = name[(dot + 1)...]
        return (1...5).contains(letters.count) && letters.allSatisfy { ASCII.isLetter($0) || ASCII.isDigit($0) }
    }

    /// The names of parameters that are taken for such without a semicolon before them.
    private static let known: Set<[UInt8]> = Set(
        [
            "boundary", "charset", "creation-date", "delsp", "filename", "format", "method", "micalg",
            "modification-date",
            "name", "protocol", "read-date", "report-type", "reply-type", "size", "start", "start-info", "type",
            "x-mac-creator",
            "x-mac-type", "x-unix-mode",
        ].map { Array($0.utf8) }
    )

    /// Those of them that are words, which names of files have too.
    private static let words: Set<[UInt8]> = Set(
        ["format", "method", "protocol", "size", "start", "type"].map { Array($0.utf8) }
    )

    private static func beginsParameter(_ text: ArraySlice<UInt8>) -> Bool {
        parameterName(text).map { known.contains($0) } ?? false
    }

    /// The name of what looks like a parameter here, in lower case.
    private static func parameterName(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let token = text.prefix(24).prefix(while: isTokenCharacter)
        let name = token.prefix { $0 != UInt8(ascii: "*") }
        let next = text[token.endIndex...].prefix(24).first { !ASCII.isWhitespace($0) }
        return name.isEmpty || next != UInt8(ascii: "=") ? nil : name.map(ASCII.lower)
    }

    /// Whether what stands behind a semicolon is no parameter but ends a file's name: `Invoice; May.pdf`.
    private static func isRestOfName(_ text: ArraySlice<UInt8>) -> Bool {
        let piece = ASCII.trim(text.prefix(300).prefix { $0 != UInt8(ascii: ";") })
        return parameterName(piece) == nil && hasExtension(piece)
    }

    /// Where a file's name ends within which a parameter seems to begin here: `My file type=A4.pdf`. nil where it's a
    /// parameter indeed.
    private static func endOfName(_ text: ArraySlice<UInt8>) -> Int? {
        guard let name = parameterName(text), words.contains(name) else { return nil }
        var end = text.startIndex
        var isBehindBlank = false
        for octet in text.prefix(300) {
            if octet == UInt8(ascii: ";") || octet == ASCII.quote { break }
            if isBehindBlank, let name = parameterName(text[end...]), known.contains(name), !words.contains(name) {
                break
            }
            isBehindBlank = ASCII.isWhitespace(octet)
            end += 1
        }
        return hasExtension(ASCII.trim(text[..<end])) ? end : nil
    }

    // MARK: What is between

    mutating func take(_ octet: UInt8) -> Bool {
        guard rest.first == octet else { return false }
        rest.removeFirst()
        return true
    }

    func isNext(_ octet: UInt8) -> Bool { rest.first == octet }

    /// Goes to the next such octet outside of comments and quoted strings; false where there is none.
    mutating func skipTo(_ octet: UInt8) -> Bool {
        while let first = rest.first {
            if first == UInt8(ascii: "("), skipComment() { continue }
            if takeQuoted() != nil { continue }
            if first == octet { return true }
            rest.removeFirst()
        }
        return false
    }

    var isAtEnd: Bool { rest.isEmpty }

    /// White space and comments.
    mutating func skipBlanks() {
        while let first = rest.first {
            if first == UInt8(ascii: "("), skipComment() { continue }
            guard ASCII.isWhitespace(first) else { return }
            rest.removeFirst()
        }
    }

    /// Goes behind the comment that begins here; false for a parenthesis that nothing closes, which then is an octet like
    /// others, as are all that follow: so none is looked at twice.
    private mutating func skipComment() -> Bool {
        guard hasComments else { return false }
        var depth = 0
        var isEscaped = false
        for index in rest.indices {
            let octet = rest[index]
            if isEscaped {
                isEscaped = false
            } else if octet == ASCII.backslash {
                isEscaped = true
            } else if octet == UInt8(ascii: "(") {
                depth += 1
            } else if octet == UInt8(ascii: ")") {
                depth -= 1
                if depth == 0 {
                    rest = rest[(index + 1)...]
                    return true
                }
            }
        }
        hasComments = false
        return false
    }
}
