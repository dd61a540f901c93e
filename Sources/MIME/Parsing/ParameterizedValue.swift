/// A parameter of a Content-Type or Content-Disposition field.
package struct MIMEParameter: Sendable, Equatable {
    /// As it is written; with a `*` at its end where the value is encoded by RFC 2231.
    package var name: [UInt8]
    package var value: [UInt8]

    package init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

/// A structured field: a value, then parameters (RFC 2045 §5.1, RFC 2183 §2); continuations are joined (RFC 2231 §3).
package struct ParameterizedValue: Sendable, Equatable {
    /// Such as `text/plain` or `attachment`, as it is written.
    package var value: [UInt8]
    package var parameters: [MIMEParameter]
    /// Whether there are more parameters than are kept.
    package var hasMoreParameters = false

    /// Whether a parameter has no semicolon before it.
    package var lacksSeparator = false

    /// The most parameters that are kept.
    private static let maximumParameters = 200

    package init(value: [UInt8], parameters: [MIMEParameter] = []) {
        self.value = value
        self.parameters = parameters
    }

    /// Reads an unfolded field value. Never fails: what makes no sense is left out.
    package init(field: [UInt8]) {
        var scanner = FieldScanner(field)
        value = scanner.token()
        scanner.skipBlanks()
        if scanner.take(UInt8(ascii: "/")) { value += [UInt8(ascii: "/")] + scanner.token() }
        var pieces: [MIMEParameter] = []
        while pieces.count < Self.maximumParameters {
            scanner.skipBlanks()
            var isSeparated = false
            while scanner.take(UInt8(ascii: ";")) {
                isSeparated = true
                scanner.skipBlanks()
            }
            // A parameter may begin where the semicolon before it is missing.
            let before = scanner
            let name = scanner.token()
            scanner.skipBlanks()
            if !name.isEmpty, scanner.take(UInt8(ascii: "=")) {
                if !isSeparated { lacksSeparator = true }
                pieces.append(MIMEParameter(name: name, value: scanner.wordOrQuoted()))
            } else {
                scanner = before
                guard scanner.skipTo(UInt8(ascii: ";")) else { break }
            }
        }
        parameters = Self.join(pieces)
        hasMoreParameters = pieces.count == Self.maximumParameters
    }

    /// The value of a parameter, by its name in any case.
    package subscript(_ name: StaticString) -> [UInt8]? {
        parameters.first { ASCII.equal($0.name, name) }?.value
    }

    private static func join(_ pieces: [MIMEParameter]) -> [MIMEParameter] {
        var parameters: [MIMEParameter] = []
        var continued: [(name: [UInt8], pieces: [(number: Int, isEncoded: Bool, value: [UInt8])])] = []
        for piece in pieces {
            guard let (name, number, isEncoded) = continuation(piece.name) else {
                parameters.append(piece)
                continue
            }
            let section = (number, isEncoded, piece.value)
            if let index = continued.firstIndex(where: { ASCII.equal($0.name, name) }) {
                continued[index].pieces.append(section)
            } else {
                continued.append((name, [section]))
            }
        }
        for parameter in continued {
            let sorted = parameter.pieces.sorted { $0.number < $1.number }
            let isEncoded = sorted.contains { $0.isEncoded }
            var value: [UInt8] = []
            for (number, piece) in sorted.enumerated() {
                guard piece.number == number else { break }
                value += isEncoded && !piece.isEncoded ? percentEncoded(piece.value) : piece.value
            }
            let name = isEncoded ? parameter.name + [UInt8(ascii: "*")] : parameter.name
            parameters.append(MIMEParameter(name: name, value: value))
        }
        return parameters
    }

    /// `name*2` or `name*2*`; nil for any other name.
    private static func continuation(_ name: [UInt8]) -> (name: [UInt8], number: Int, isEncoded: Bool)? {
        let parts = name.split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false)
        guard parts.count == 2 || (parts.count == 3 && parts[2].isEmpty), parts[1].count <= 4,
            let number = ASCII.number(parts[1])
        else { return nil }
        return (Array(parts[0]), number, parts.count == 3)
    }

    private static func percentEncoded(_ text: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return text.flatMap { octet -> [UInt8] in
            ASCII.isLetter(octet) || ASCII.isDigit(octet)
                ? [octet] : [UInt8(ascii: "%"), digits[Int(octet >> 4)], digits[Int(octet & 15)]]
        }
    }
}

/// Reads tokens and quoted strings of structured fields (RFC 2045 §5.1).
struct FieldScanner {
    private var rest: ArraySlice<UInt8>
    private var hasComments = true

    init(_ field: [UInt8]) { rest = field[...] }

    mutating func token() -> [UInt8] {
        skipBlanks()
        let token = rest.prefix { octet in
            octet > 0x20 && octet != 0x7F && !Self.specials.contains(octet)
        }
        rest = rest[token.endIndex...]
        return Array(token)
    }

    private static let specials = Set("()<>@,;:\\\"/[]?=".utf8)

    mutating func wordOrQuoted() -> [UInt8] {
        skipBlanks()
        guard rest.first == ASCII.quote else {
            // Names with blanks or slashes that nobody quoted are common.
            let word = rest.prefix { $0 != UInt8(ascii: ";") }
            rest = rest[word.endIndex...]
            return Array(Self.withoutComment(ASCII.trim(word)))
        }
        rest.removeFirst()
        var text: [UInt8] = []
        while let octet = rest.popFirst(), octet != ASCII.quote {
            if octet == ASCII.backslash, let next = rest.popFirst() {
                text.append(next)
            } else {
                text.append(octet)
            }
        }
        return text
    }

    /// Without the comment at the end of a word; brackets that more text follows are part of it, such as of a file's name.
    private static func withoutComment(_ word: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard word.last == UInt8(ascii: ")"), let open = word.firstIndex(of: UInt8(ascii: "(")) else { return word }
        return ASCII.trim(word[..<open])
    }

    /// The first word of a field, such as of Content-Transfer-Encoding, in quotes or not, and without what else stands
    /// there; the whole field where it has none.
    static func word(_ field: [UInt8]) -> [UInt8] {
        var scanner = FieldScanner(field)
        scanner.skipBlanks()
        let word = scanner.rest.first == ASCII.quote ? Array(ASCII.trim(scanner.wordOrQuoted()[...])) : scanner.token()
        return word.isEmpty ? Array(ASCII.trim(field[...])) : word
    }

    mutating func take(_ octet: UInt8) -> Bool {
        guard rest.first == octet else { return false }
        rest.removeFirst()
        return true
    }

    /// Goes to the next such octet outside of comments and quoted strings; false where there is none.
    mutating func skipTo(_ octet: UInt8) -> Bool {
        while let first = rest.first {
            if first == UInt8(ascii: "("), skipComment() { continue }
            if first == ASCII.quote {
                _ = wordOrQuoted()
                continue
            }
            if first == octet { return true }
            rest.removeFirst()
        }
        return false
    }

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
