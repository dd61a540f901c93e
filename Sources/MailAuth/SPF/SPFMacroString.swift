/// Text with macros: a domain-spec or an explain-string (RFC 7208 §7.1).
package struct SPFMacroString: Sendable, Hashable {
    /// A run of text that stands for itself, or a macro.
    package enum Part: Sendable, Hashable {
        case literal([UInt8])
        case macro(SPFMacro)
    }

    package let parts: [Part]
    /// The text as it is written.
    package let text: [UInt8]

    /// Whether expanding needs more than the domain and constant text.
    package var dependsOnSender: Bool {
        parts.contains {
            if case .macro(let macro) = $0 { macro.letter != .domain } else { false }
        }
    }
}

/// `%{…}`: a value, the part of it that is wanted, and how it is written (RFC 7208 §7.1).
package struct SPFMacro: Sendable, Hashable {
    /// What a macro stands for (RFC 7208 §7.2).
    package enum Letter: UInt8, Sendable, CaseIterable {
        case sender = 0x73  // s
        case localPart = 0x6C  // l
        case senderDomain = 0x6F  // o
        case domain = 0x64  // d
        case address = 0x69  // i
        case validatedName = 0x70  // p
        case addressFamily = 0x76  // v
        case helo = 0x68  // h
        /// In explanations only, as are the next two.
        case readableAddress = 0x63  // c
        case receiver = 0x72  // r
        case timestamp = 0x74  // t

        var isForExplanations: Bool { self == .readableAddress || self == .receiver || self == .timestamp }
    }

    package var letter: Letter
    /// A capital letter asks for URL escapes.
    package var isEscaped: Bool
    /// How many parts to keep, counted from the right; nil for all.
    package var rightmost: Int?
    package var isReversed: Bool
    /// What separates parts; empty for the dot.
    package var delimiters: [UInt8]
}

/// Reads macro strings. Positions in errors count from the record's start.
struct SPFMacroParser {
    /// Where the text is used decides which macros may be there and how it must end.
    enum Use { case domain, explanation, unknownModifier }

    private let text: ArraySlice<UInt8>
    private let use: Use
    private var position: Int
    private var parts: [SPFMacroString.Part] = []
    private var literal: [UInt8] = []
    /// Where the last macro, or `%%` and the like, ended.
    private var macroEnd: Int

    private init(_ text: ArraySlice<UInt8>, use: Use) {
        self.text = text
        self.use = use
        position = text.startIndex
        macroEnd = -1
    }

    static func parse(_ text: ArraySlice<UInt8>, use: Use) throws(SPFSyntaxError) -> SPFMacroString {
        var parser = SPFMacroParser(text, use: use)
        return try parser.run()
    }

    private mutating func run() throws(SPFSyntaxError) -> SPFMacroString {
        while position < text.endIndex {
            let octet = text[position]
            if octet == UInt8(ascii: "%") {
                try expansion()
            } else if (0x21...0x7E).contains(octet) || (octet == 0x20 && use == .explanation) {
                literal.append(octet)
                position += 1
            } else {
                throw SPFSyntaxError(.badCharacter, at: position)
            }
        }
        flush()
        if use == .domain { try checkEnd() }
        return SPFMacroString(parts: parts, text: Array(text))
    }

    private mutating func flush() {
        if !literal.isEmpty { parts.append(.literal(literal)) }
        literal = []
    }

    private mutating func expansion() throws(SPFSyntaxError) {
        let start = position
        guard start + 1 < text.endIndex else { throw SPFSyntaxError(.badMacro, at: start) }
        switch text[start + 1] {
        case UInt8(ascii: "%"): literal.append(UInt8(ascii: "%"))
        case UInt8(ascii: "_"): literal.append(UInt8(ascii: " "))
        case UInt8(ascii: "-"): literal += [0x25, 0x32, 0x30]
        case UInt8(ascii: "{"):
            try macro(from: start)
            return
        default: throw SPFSyntaxError(.badMacro, at: start)
        }
        position = start + 2
        macroEnd = position
    }

    private mutating func macro(from start: Int) throws(SPFSyntaxError) {
        var rest = text[(start + 2)...]
        guard let first = rest.popFirst(), let letter = SPFMacro.Letter(rawValue: first | 0x20),
            !letter.isForExplanations || use != .domain
        else { throw SPFSyntaxError(.badMacro, at: start) }
        let digits = rest.prefix { $0 &- 0x30 < 10 }
        rest = rest.dropFirst(digits.count)
        var rightmost: Int?
        if !digits.isEmpty {
            // More parts than a name or an address may have are all of them.
            let number = digits.reduce(0) { min(1000, $0 * 10 + Int($1 - 0x30)) }
            guard number > 0 else { throw SPFSyntaxError(.badMacro, at: start) }
            rightmost = number
        }
        var isReversed = false
        if let octet = rest.first, octet | 0x20 == UInt8(ascii: "r") {
            isReversed = true
            rest = rest.dropFirst()
        }
        let delimiters = rest.prefix { Self.isDelimiter($0) }
        rest = rest.dropFirst(delimiters.count)
        guard rest.first == UInt8(ascii: "}") else { throw SPFSyntaxError(.badMacro, at: start) }
        flush()
        parts.append(
            .macro(
                SPFMacro(
                    letter: letter,
                    isEscaped: first & 0x20 == 0,
                    rightmost: rightmost,
                    isReversed: isReversed,
                    delimiters: Array(delimiters)
                )
            )
        )
        position = rest.startIndex + 1
        macroEnd = position
    }

    private static func isDelimiter(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: "/"),
            UInt8(ascii: "_"), UInt8(ascii: "="):
            true
        default: false
        }
    }

    /// A domain-spec ends with a macro, or with a dot and a label that isn't all digits (RFC 7208 §7.1, domain-end).
    private func checkEnd() throws(SPFSyntaxError) {
        guard !text.isEmpty else { throw SPFSyntaxError(.missingDomain, at: text.startIndex) }
        if macroEnd == text.endIndex { return }
        var tail = text[max(macroEnd, text.startIndex)...]
        if tail.last == UInt8(ascii: ".") { tail = tail.dropLast() }
        guard let dot = tail.lastIndex(of: UInt8(ascii: ".")) else {
            throw SPFSyntaxError(.badDomain, at: text.startIndex)
        }
        guard Self.isTopLabel(tail[(dot + 1)...]) else { throw SPFSyntaxError(.badDomain, at: dot + 1) }
    }

    private static func isTopLabel(_ label: ArraySlice<UInt8>) -> Bool {
        let hyphen = UInt8(ascii: "-")
        guard let first = label.first, first != hyphen, label.last != hyphen else { return false }
        var hasOther = false
        for octet in label {
            if octet &- 0x30 < 10 { continue }
            guard (octet | 0x20) &- 0x61 < 26 || octet == hyphen else { return false }
            hasOther = true
        }
        return hasOther
    }
}
