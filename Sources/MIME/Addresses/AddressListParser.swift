/// Reads address fields (RFC 5322 §3.4 and §4.4): groups, comments, quoted strings, routes. Never fails: what isn't an
/// address is kept as well as it can be, and these rules of recovery say how:
///
/// - An address in angle brackets wins over all that stands before it in its entry, which is its name, `@` and all.
/// - An entry without an address belongs to the name of the next one: `Doe, John <john@x.test>`.
/// - Words are one only where dots and `@` join them.
/// - What nothing closes (`<`, `(`, `"`, `[`) takes no other address with it.
/// - Several addresses in one entry are several addresses.
package struct AddressListParser {
    private typealias Token = AddressLexer.Token

    private var lexer: AddressLexer
    private var addresses: [ListedAddress] = []
    private var hasMore = false
    private let maximum: Int

    /// What stands in this entry and belongs to no address yet; with the entries before it that had no address, and the
    /// commas between.
    private var pending: [Token] = []
    /// Where this entry begins in it, and whether there is an `@` in the entry.
    private var entryIndex = 0
    private var entryHasAt = false
    private var comment: [UInt8]?
    /// How many addresses there were when this entry began.
    private var entryStart = 0
    private var isInGroup = false

    private init(_ value: [UInt8], maximum: Int) {
        lexer = AddressLexer(value)
        self.maximum = maximum
    }

    /// The addresses of an unfolded field value, at most so many.
    package static func parse(_ value: [UInt8], maximum: Int = 10_000) -> [ListedAddress] {
        read(value, maximum: maximum).addresses
    }

    /// The addresses of an unfolded field value, at most so many, and whether there are more.
    package static func read(_ value: [UInt8], maximum: Int = 10_000) -> (addresses: [ListedAddress], hasMore: Bool) {
        var parser = AddressListParser(value, maximum: maximum)
        parser.run()
        return (parser.addresses, parser.hasMore)
    }

    private mutating func run() {
        while let token = next() {
            guard !isFull else { return }
            switch token.kind {
            case .special(UInt8(ascii: "<")): angle()
            case .special(UInt8(ascii: ",")): endEntry(token)
            case .special(UInt8(ascii: ";")): endList()
            case .special(UInt8(ascii: ":")) where beginsGroup: beginGroup()
            // Closes nothing.
            case .special(UInt8(ascii: ">")): continue
            default:
                entryHasAt = entryHasAt || token.isSpecial(UInt8(ascii: "@"))
                pending.append(token)
            }
        }
        endList()
    }

    /// Whether a colon here ends the name of a group.
    private var beginsGroup: Bool {
        !isInGroup && addresses.count == entryStart && !entryHasAt && !(pending.last.map { isScheme($0) } ?? false)
    }

    /// Whether the word is that of an address written as a URI (RFC 6068), in brackets or not.
    private func isScheme(_ token: Token) -> Bool {
        guard token.kind == .atom else { return false }
        let word = lexer.value(token)
        return ASCII.equal(word, "mailto") || ASCII.equal(word, "[mailto")
    }

    /// The next token but for comments, of which the last is kept.
    private mutating func next() -> Token? {
        var hasComment = false
        while var token = lexer.next() {
            guard token.kind == .comment else {
                token.hasBlankBefore = token.hasBlankBefore || hasComment
                return token
            }
            hasComment = true
            let text = lexer.value(token)
            if !text.isEmpty { comment = text }
        }
        return nil
    }

    private var isFull: Bool {
        mutating get {
            if addresses.count >= maximum { hasMore = true }
            return hasMore
        }
    }

    // MARK: Entries

    private static func hasAt(_ tokens: ArraySlice<Token>) -> Bool {
        tokens.contains { $0.isSpecial(UInt8(ascii: "@")) }
    }

    /// A comma.
    private mutating func endEntry(_ comma: Token) {
        if addresses.count > entryStart || entryHasAt {
            flush()
        } else if pending.count > entryIndex {
            pending.append(comma)
            entryIndex = pending.count
        }
    }

    /// A semicolon, or the end of the field.
    private mutating func endList() {
        flush()
        guard isInGroup, !isFull else { return }
        addresses.append(ListedAddress(name: nil, mailbox: nil, host: nil))
        isInGroup = false
        entryStart = addresses.count
    }

    private mutating func beginGroup() {
        let name = lexer.text(pending[entryIndex...])
        pending.removeLast(pending.count - entryIndex)
        flush()
        guard !isFull else { return }
        addresses.append(ListedAddress(name: nil, mailbox: name, host: nil))
        isInGroup = true
        entryStart = addresses.count
    }

    /// All entries that are pending end.
    private mutating func flush() {
        let hasAddress = addresses.count > entryStart
        for entry in pending.split(whereSeparator: { $0.isSpecial(UInt8(ascii: ",")) }) {
            if Self.hasAt(entry) {
                bare(entry)
            } else if hasAddress {
                nameLast(lexer.text(entry))
            } else if !isFull {
                addresses.append(loose(entry))
            }
        }
        clear()
        if let comment, addresses.count > entryStart { nameLast(comment) }
        comment = nil
        entryStart = addresses.count
    }

    private mutating func clear() {
        pending.removeAll(keepingCapacity: true)
        entryIndex = 0
        entryHasAt = false
    }

    /// The address before the text has that for a name, if it has none.
    private mutating func nameLast(_ name: [UInt8]) {
        guard let last = addresses.indices.last, addresses[last].name == nil, !name.isEmpty else { return }
        addresses[last].name = name
    }

    /// An entry that names no address.
    private func loose(_ entry: ArraySlice<Token>) -> ListedAddress {
        let isOneWord = entry.enumerated().allSatisfy { index, token in
            (token.kind == .atom || token.isSpecial(UInt8(ascii: "."))) && (index == 0 || !token.hasBlankBefore)
        }
        let text = lexer.text(entry)
        return isOneWord
            ? ListedAddress(name: nil, mailbox: text, host: []) : ListedAddress(name: text, mailbox: [], host: [])
    }

    // MARK: Addresses

    /// Addresses without angle brackets.
    private mutating func bare(_ entry: ArraySlice<Token>) {
        var rest = entry
        var last: Int?
        while let at = rest.firstIndex(where: { $0.isSpecial(UInt8(ascii: "@")) }) {
            guard !isFull else { return }
            let local = Self.localStart(rest, before: at)
            var (host, end) = domain(rest, behind: at)
            var mailbox = self.local(rest[local..<at])
            var nameEnd = local
            // `[a@b.test]`, `[mailto:a@b.test]`.
            let closes = host.last == UInt8(ascii: "]") && host.first != UInt8(ascii: "[")
            var isInBrackets = closes && mailbox?.first == UInt8(ascii: "[")
            if isInBrackets { mailbox?.removeFirst() }
            if local >= rest.startIndex + 2, rest[local - 1].isSpecial(UInt8(ascii: ":")), isScheme(rest[local - 2]) {
                nameEnd = local - 2
                isInBrackets = lexer.value(rest[nameEnd]).first == UInt8(ascii: "[")
            }
            if isInBrackets, closes { host.removeLast() }
            let name = lexer.text(rest[..<nameEnd])
            addresses.append(ListedAddress(name: nil, mailbox: mailbox, host: host))
            // What stands between two of them may be of either.
            if last == nil { nameLast(name) }
            last = addresses.count - 1
            rest = rest[end...]
        }
        if last.map({ $0 == entryStart }) ?? false { nameLast(lexer.text(rest)) }
    }

    /// Where the words and dots before the `@` begin that are one.
    private static func localStart(_ tokens: ArraySlice<Token>, before at: Int) -> Int {
        var start = at
        var wantsWord = true
        while start > tokens.startIndex {
            let token = tokens[start - 1]
            if token.isSpecial(UInt8(ascii: ".")) {
                wantsWord = true
            } else if token.isWord, wantsWord {
                wantsWord = false
            } else {
                break
            }
            start -= 1
        }
        return start
    }

    /// nil where there is none.
    private func local(_ tokens: ArraySlice<Token>) -> [UInt8]? {
        tokens.isEmpty ? nil : Array(tokens.map { lexer.value($0) }.joined())
    }

    /// The domain behind the `@`, and where it ends. What goes on with another `@` is none: no part of that may be taken for
    /// the domain alone.
    private func domain(_ tokens: ArraySlice<Token>, behind at: Int) -> (host: [UInt8], end: Int) {
        var host: [UInt8] = []
        var end = at + 1
        var isAtStart = true
        loop: while end < tokens.endIndex {
            let token = tokens[end]
            switch token.kind {
            case .special(UInt8(ascii: ".")): host.append(UInt8(ascii: "."))
            case .special(UInt8(ascii: "@")):
                host.append(UInt8(ascii: "@"))
                isAtStart = true
                end += 1
                continue loop
            case .literal where isAtStart: host += lexer.value(token)
            case .atom where isAtStart || host.last == UInt8(ascii: "."),
                .quoted where isAtStart || host.last == UInt8(ascii: "."),
                .encodedWord where isAtStart || host.last == UInt8(ascii: "."):
                host += lexer.value(token)
            default: break loop
            }
            isAtStart = false
            end += 1
        }
        return (host, end)
    }

    /// What is within `<` and `>`.
    private mutating func angle() {
        var inner: [Token] = []
        var isInRoute = false
        while let token = next() {
            switch token.kind {
            case .special(UInt8(ascii: ">")): return add(inner)
            case .special(UInt8(ascii: "<")):
                // The bracket before it is not closed.
                leave(inner)
                inner = []
                isInRoute = false
            case .special(UInt8(ascii: ",")) where !isInRoute, .special(UInt8(ascii: ";")):
                leave(inner)
                return token.isSpecial(UInt8(ascii: ",")) ? endEntry(token) : endList()
            default:
                if inner.isEmpty, token.isSpecial(UInt8(ascii: "@")) { isInRoute = true }
                if token.isSpecial(UInt8(ascii: ":")) { isInRoute = false }
                inner.append(token)
            }
        }
        leave(inner)
    }

    /// What stands behind a bracket that nothing closes.
    private mutating func leave(_ inner: [Token]) {
        if Self.hasAt(inner[...]) { add(inner) } else { pending += inner }
    }

    /// An address in brackets; the text before it is its name.
    private mutating func add(_ inner: [Token]) {
        guard !isFull else { return }
        // Brackets without an address in them win over nothing.
        if entryHasAt, !Self.hasAt(inner[...]) { return }
        var rest = inner[...]
        var route: [UInt8]?
        if let colon = rest.firstIndex(where: { $0.isSpecial(UInt8(ascii: ":")) }) {
            if rest.first?.isSpecial(UInt8(ascii: "@")) == true {
                route = Array(rest[..<colon].map { lexer.value($0) }.joined())
                rest = rest[(colon + 1)...]
            } else if ASCII.equal(lexer.text(rest[..<colon]), "mailto") {
                rest = rest[(colon + 1)...]
            }
        }
        let name = lexer.text(pending)
        clear()
        var address = ListedAddress(name: name.isEmpty ? nil : name, route: route, mailbox: lexer.text(rest), host: [])
        if let at = rest.firstIndex(where: { $0.isSpecial(UInt8(ascii: "@")) }) {
            let start = Self.localStart(rest, before: at)
            let (host, end) = domain(rest, behind: at)
            address.mailbox = start == rest.startIndex ? local(rest[..<at]) : lexer.text(rest[..<at])
            address.host = end == rest.endIndex ? host : host + [ASCII.space] + lexer.text(rest[end...])
        }
        if let last = addresses.last, addresses.count > entryStart, last.mailbox == address.mailbox,
            last.host == address.host
        {
            return
        }
        addresses.append(address)
    }
}
