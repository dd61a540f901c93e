/// One entry of an address list, as the ENVELOPE of IMAP wants it (RFC 3501 §7.4.2).
package struct ListedAddress: Sendable, Equatable {
    /// The display name; encoded words are left as they are.
    package var name: [UInt8]?
    /// The source route (RFC 5322 §4.4).
    package var route: [UInt8]?
    /// The local part; the group's name where `host` is nil; nil at a group's end.
    package var mailbox: [UInt8]?
    package var host: [UInt8]?

    package init(name: [UInt8]?, route: [UInt8]? = nil, mailbox: [UInt8]?, host: [UInt8]?) {
        self.name = name
        self.route = route
        self.mailbox = mailbox
        self.host = host
    }
}

/// Reads address fields (RFC 5322 §3.4 and §4.4): groups, comments, quoted strings, routes. Never fails: what isn't an
/// address is kept as well as it can be.
package struct AddressListParser {
    private enum Token: Equatable {
        case word([UInt8])
        case special(UInt8)
        case literal([UInt8])
    }

    private var rest: ArraySlice<UInt8>
    private var comment: [UInt8]?
    private var addresses: [ListedAddress] = []
    private var hasMore = false

    private init(_ value: [UInt8]) { rest = value[...] }

    /// The addresses of an unfolded field value, at most so many.
    package static func parse(_ value: [UInt8], maximum: Int = 10_000) -> [ListedAddress] {
        read(value, maximum: maximum).addresses
    }

    /// The addresses of an unfolded field value, at most so many, and whether there are more.
    package static func read(_ value: [UInt8], maximum: Int = 10_000) -> (addresses: [ListedAddress], hasMore: Bool) {
        var parser = AddressListParser(value)
        parser.run(maximum: maximum)
        return (parser.addresses, parser.hasMore)
    }

    private mutating func run(maximum: Int) {
        var words: [[UInt8]] = []
        var local: [UInt8] = []  // words and dots without white space between them
        var isInGroup = false
        while let token = next() {
            guard addresses.count < maximum else {
                hasMore = true
                return
            }
            switch token {
            case .word(let word), .literal(let word):
                words.append(word)
                local += word
            case .special(UInt8(ascii: ".")):
                if words.isEmpty { words.append([]) }
                words[words.count - 1].append(UInt8(ascii: "."))
                local.append(UInt8(ascii: "."))
            case .special(UInt8(ascii: "<")):
                angle(name: words.isEmpty ? nil : Self.join(words))
                words = []
                local = []
            case .special(UInt8(ascii: "@")):
                add(mailbox: local, host: domain())
                words = []
                local = []
            case .special(UInt8(ascii: ":")):
                addresses.append(ListedAddress(name: nil, mailbox: Self.join(words), host: nil))
                isInGroup = true
                words = []
                local = []
            case .special(let octet) where octet == UInt8(ascii: ",") || octet == UInt8(ascii: ";"):
                if !local.isEmpty { add(mailbox: local, host: []) }
                if octet == UInt8(ascii: ";"), isInGroup {
                    addresses.append(ListedAddress(name: nil, mailbox: nil, host: nil))
                    isInGroup = false
                }
                words = []
                local = []
                comment = nil
            case .special: continue
            }
        }
        if !local.isEmpty { add(mailbox: local, host: []) }
        if isInGroup { addresses.append(ListedAddress(name: nil, mailbox: nil, host: nil)) }
    }

    /// An address without angle brackets: the comment behind it is its name.
    private mutating func add(mailbox: [UInt8], host: [UInt8]) {
        if comment == nil { skipBlanks() }
        addresses.append(ListedAddress(name: comment, mailbox: mailbox, host: host))
        comment = nil
    }

    /// What is within `<` and `>`.
    private mutating func angle(name: [UInt8]?) {
        var route: [UInt8]?
        var local: [UInt8] = []
        var host: [UInt8]?
        skipBlanks()
        // Looks no further than to the next bracket, lest many of them take quadratic time.
        if rest.first == UInt8(ascii: "@"),
            let colon = rest.firstIndex(where: { ":<>".utf8.contains($0) }), rest[colon] == UInt8(ascii: ":")
        {
            route = rest[..<colon].filter { !ASCII.isWhitespace($0) }
            rest = rest[(colon + 1)...]
        }
        scan: while let token = next() {
            switch token {
            case .word(let word), .literal(let word):
                if host == nil { local += word } else { host?.append(contentsOf: [ASCII.space] + word) }
            case .special(UInt8(ascii: ".")): if host == nil { local.append(UInt8(ascii: ".")) }
            // What goes on behind a domain makes it none: no part of that may be taken for the domain alone.
            case .special(UInt8(ascii: "@")):
                if host == nil { host = [] } else { host?.append(UInt8(ascii: "@")) }
                host?.append(contentsOf: domain())
            case .special(UInt8(ascii: ">")): break scan
            case .special: continue
            }
        }
        addresses.append(ListedAddress(name: name ?? comment, route: route, mailbox: local, host: host ?? []))
        comment = nil
    }

    /// Words with dots between; a word without a dot before it is no part of it.
    private mutating func domain() -> [UInt8] {
        var domain: [UInt8] = []
        while true {
            skipBlanks()
            let before = rest
            switch next() {
            case .word(let word) where domain.isEmpty || domain.last == UInt8(ascii: "."): domain += word
            case .literal(let word) where domain.isEmpty: domain += word
            case .special(UInt8(ascii: ".")): domain.append(UInt8(ascii: "."))
            case .word, .literal, .special, nil:
                rest = before
                return domain
            }
        }
    }

    private static func join(_ words: [[UInt8]]) -> [UInt8] { Array(words.joined(separator: [ASCII.space])) }

    // MARK: Tokens

    private mutating func next() -> Token? {
        skipBlanks()
        guard let first = rest.first else { return nil }
        switch first {
        case ASCII.quote: return .word(quoted(until: ASCII.quote))
        case UInt8(ascii: "["):
            return .literal([first] + quoted(until: UInt8(ascii: "]")) + [UInt8(ascii: "]")])
        case _ where Self.isSpecial(first):
            rest.removeFirst()
            return .special(first)
        default:
            let word = rest.prefix { !Self.isSpecial($0) && !ASCII.isWhitespace($0) && $0 != ASCII.quote }
            rest = rest[word.endIndex...]
            return .word(Array(word))
        }
    }

    private static func isSpecial(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "@"), UInt8(ascii: ","), UInt8(ascii: ";"),
            UInt8(ascii: ":"), UInt8(ascii: "."), UInt8(ascii: "("), UInt8(ascii: ")"):
            true
        default: false
        }
    }

    private mutating func quoted(until end: UInt8) -> [UInt8] {
        rest.removeFirst()
        var text: [UInt8] = []
        while let octet = rest.popFirst(), octet != end {
            if octet == ASCII.backslash, let next = rest.popFirst() {
                text.append(next)
            } else {
                text.append(octet)
            }
        }
        return text
    }

    /// Skips white space and comments; keeps the last comment's text.
    private mutating func skipBlanks() {
        while let first = rest.first {
            if ASCII.isWhitespace(first) {
                rest.removeFirst()
            } else if first == UInt8(ascii: "(") {
                skipComment()
            } else {
                return
            }
        }
    }

    private mutating func skipComment() {
        var text: [UInt8] = []
        var depth = 0
        while let octet = rest.popFirst() {
            switch octet {
            case UInt8(ascii: "("):
                depth += 1
                if depth > 1 { text.append(octet) }
            case UInt8(ascii: ")"):
                depth -= 1
                if depth > 0 { text.append(octet) }
            case ASCII.backslash: if let next = rest.popFirst() { text.append(next) }
            default: text.append(octet)
            }
            if depth == 0 { break }
        }
        let trimmed = ASCII.trim(text[...])
        if !trimmed.isEmpty { comment = Array(trimmed) }
    }
}
