import MIME

/// Reads the elements of the grammar (RFC 3501 §9) from the octets of one command. Literals are in place: `{n}`, CRLF
/// and their octets.
struct CommandScanner {
    private let octets: [UInt8]
    private(set) var position = 0
    /// Whether mailbox names are in UTF-8 (`MailboxName`).
    private let usesUTF8: Bool

    init(_ octets: [UInt8], usesUTF8: Bool = false) {
        self.octets = octets
        self.usesUTF8 = usesUTF8
    }

    var next: UInt8? { position < octets.count ? octets[position] : nil }
    var isAtEnd: Bool { position >= octets.count }

    /// Leaves out octets that were read before.
    mutating func skip(_ count: Int) { position = min(position + count, octets.count) }

    mutating func take(_ octet: UInt8) -> Bool {
        guard next == octet else { return false }
        position += 1
        return true
    }

    mutating func expect(_ octet: UInt8, _ what: StaticString) throws(SyntaxError) {
        guard take(octet) else { throw SyntaxError("\(what) expected") }
    }

    /// One blank, or more of them: some clients write two.
    mutating func space() throws(SyntaxError) {
        guard blanks() else { throw SyntaxError("space expected") }
    }

    /// Takes blanks; whether there was one.
    @discardableResult mutating func blanks() -> Bool {
        let start = position
        while take(ASCII.space) {}
        return position > start
    }

    /// Takes blanks; whether there was one, and something else than the end of the list or of the command is next.
    mutating func another() -> Bool {
        blanks() && !isAtEnd && next != UInt8(ascii: ")")
    }

    mutating func finish() throws(SyntaxError) {
        blanks()
        guard isAtEnd else { throw SyntaxError("too many arguments") }
    }

    // MARK: Characters

    static func isAtomCharacter(_ octet: UInt8) -> Bool {
        switch octet {
        case 0...0x20, 0x7F..., UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "{"), UInt8(ascii: "%"),
            UInt8(ascii: "*"), ASCII.quote, ASCII.backslash, UInt8(ascii: "]"):
            false
        default: true
        }
    }

    /// What may be in an astring without quotes; beyond ASCII is taken for names in UTF-8.
    static func isAStringCharacter(_ octet: UInt8) -> Bool {
        isAtomCharacter(octet) || octet == UInt8(ascii: "]") || octet >= 0x80
    }

    mutating func run(_ isPart: (UInt8) -> Bool) -> ArraySlice<UInt8> {
        let run = octets[position...].prefix(while: isPart)
        position = run.endIndex
        return run
    }

    // MARK: Words

    mutating func atom() throws(SyntaxError) -> ArraySlice<UInt8> {
        let atom = run(Self.isAtomCharacter)
        guard !atom.isEmpty else { throw SyntaxError("atom expected") }
        return atom
    }

    /// An atom in capitals.
    mutating func keyword() throws(SyntaxError) -> String {
        String(decoding: try atom().map(ASCII.upper), as: UTF8.self)
    }

    /// Consumes that word, in any case, where it is next.
    mutating func take(word: StaticString) -> Bool {
        let end = position + word.utf8CodeUnitCount
        guard end <= octets.count, ASCII.equal(octets[position..<end], word) else { return false }
        position = end
        return true
    }

    mutating func astring() throws(SyntaxError) -> [UInt8] {
        if next == ASCII.quote || next == UInt8(ascii: "{") { return try string() }
        let text = run(Self.isAStringCharacter)
        guard !text.isEmpty else { throw SyntaxError("string expected") }
        return Array(text)
    }

    mutating func string() throws(SyntaxError) -> [UInt8] {
        next == UInt8(ascii: "{") ? try literal() : try quoted()
    }

    mutating func nstring() throws(SyntaxError) -> [UInt8]? {
        take(word: "NIL") ? nil : try string()
    }

    /// The same, or `~{n}` with octets of any kind (RFC 3516 §4.4).
    mutating func nstringOfAnyOctets() throws(SyntaxError) -> [UInt8]? {
        guard take(UInt8(ascii: "~")) else { return try nstring() }
        return try literal(isBinary: true)
    }

    private mutating func quoted() throws(SyntaxError) -> [UInt8] {
        try expect(ASCII.quote, "string")
        var text: [UInt8] = []
        while let octet = next {
            position += 1
            switch octet {
            case ASCII.quote: return text
            case ASCII.backslash:
                guard let escaped = next, escaped == ASCII.quote || escaped == ASCII.backslash else {
                    throw SyntaxError("only quotes and backslashes are escaped")
                }
                position += 1
                text.append(escaped)
            case 0, ASCII.carriageReturn, ASCII.lineFeed: throw SyntaxError("not allowed within quotes")
            default: text.append(octet)
            }
        }
        throw SyntaxError("string without its end")
    }

    private mutating func literal(isBinary: Bool = false) throws(SyntaxError) -> [UInt8] {
        try expect(UInt8(ascii: "{"), "literal")
        let digits = run(ASCII.isDigit)
        _ = take(UInt8(ascii: "+"))
        guard let count = ASCII.number(digits), take(UInt8(ascii: "}")) else { throw SyntaxError("malformed literal") }
        _ = take(ASCII.carriageReturn)
        try expect(ASCII.lineFeed, "line end")
        guard count <= octets.count - position else { throw SyntaxError("literal without its end") }
        let text = octets[position..<(position + count)]
        position += count
        guard isBinary || !text.contains(0) else { throw SyntaxError("NUL in a literal") }
        return Array(text)
    }

    /// The head of a literal whose octets are still to come: takes `{n}`, `{n+}` or `~{n}` where it's the last of the line.
    mutating func literalHead() -> MessageLiteral? {
        let start = position
        let isBinary = take(UInt8(ascii: "~"))
        if take(UInt8(ascii: "{")), let size = ASCII.number(run(ASCII.isDigit)) {
            let isSynchronizing = !take(UInt8(ascii: "+"))
            if take(UInt8(ascii: "}")), takeLineEnd() {
                return MessageLiteral(size: size, isSynchronizing: isSynchronizing, isBinary: isBinary)
            }
        }
        position = start
        return nil
    }

    /// Takes CRLF or LF where it's the end.
    mutating func takeLineEnd() -> Bool {
        let start = position
        _ = take(ASCII.carriageReturn)
        if take(ASCII.lineFeed), isAtEnd { return true }
        position = start
        return false
    }

    mutating func mailbox() throws(SyntaxError) -> MailboxName {
        MailboxName(wire: try astring(), isUTF8: usesUTF8)
    }

    /// A mailbox name or a pattern, where `%` and `*` are allowed without quotes.
    mutating func listMailbox() throws(SyntaxError) -> [UInt8] {
        if next == ASCII.quote || next == UInt8(ascii: "{") { return try string() }
        let text = run { Self.isAStringCharacter($0) || $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "*") }
        guard !text.isEmpty else { throw SyntaxError("mailbox pattern expected") }
        return Array(text)
    }

    // MARK: Numbers

    mutating func number() throws(SyntaxError) -> UInt32 {
        guard let value = ASCII.number(run(ASCII.isDigit)).flatMap({ UInt32(exactly: $0) }) else {
            throw SyntaxError("number expected")
        }
        return value
    }

    /// A number of 63 bits (RFC 9051 §9, number64).
    mutating func number64() throws(SyntaxError) -> UInt64 {
        guard let value = ASCII.number(run(ASCII.isDigit)) else { throw SyntaxError("number expected") }
        return UInt64(value)
    }

    mutating func sequenceSet() throws(SyntaxError) -> SequenceSet {
        if take(UInt8(ascii: "$")) { return .saved }
        var elements: [SequenceSet.Element] = []
        repeat {
            let from = try sequenceNumber()
            elements.append(.init(from, take(UInt8(ascii: ":")) ? try sequenceNumber() : from))
        } while take(UInt8(ascii: ","))
        return SequenceSet(elements)
    }

    mutating func sequenceNumber() throws(SyntaxError) -> SequenceSet.Number {
        if take(UInt8(ascii: "*")) { return .last }
        let number = try number()
        guard number > 0 else { throw SyntaxError("numbers begin at 1") }
        return .number(number)
    }

    // MARK: Lists

    /// `(1:100)` and `(-1:-100)` (RFC 9394 §3.1), without the parentheses.
    mutating func partialRange() throws(SyntaxError) -> PartialRange {
        let isFromEnd = take(UInt8(ascii: "-"))
        let first = try number()
        try expect(UInt8(ascii: ":"), "colon")
        guard take(UInt8(ascii: "-")) == isFromEnd else { throw SyntaxError("both ends count from the same side") }
        let last = try number()
        guard first > 0, last > 0 else { throw SyntaxError("places begin at 1") }
        return PartialRange(Int(first), Int(last), isFromEnd: isFromEnd)
    }

    /// `(` elements with blanks between them `)`; may be empty.
    mutating func list<Element>(
        _ element: (inout CommandScanner) throws(SyntaxError) -> Element
    ) throws(SyntaxError) -> [Element] {
        try expect(UInt8(ascii: "("), "list")
        var elements: [Element] = []
        blanks()
        if take(UInt8(ascii: ")")) { return elements }
        repeat { elements.append(try element(&self)) } while another()
        try expect(UInt8(ascii: ")"), "end of list")
        return elements
    }

    mutating func flag() throws(SyntaxError) -> Flag {
        let backslash = take(ASCII.backslash) ? "\\" : ""
        return Flag(backslash + String(decoding: try atom(), as: UTF8.self))
    }

    // MARK: Dates

    /// `1-Feb-1994`, with or without quotes: days since 1970.
    mutating func date() throws(SyntaxError) -> Int {
        let isQuoted = take(ASCII.quote)
        let text = run { ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == UInt8(ascii: "-") }
        if isQuoted { try expect(ASCII.quote, "quote") }
        guard let date = Self.date(text) else { throw SyntaxError("date expected, such as 1-Feb-1994") }
        return date.dayNumber
    }

    private static func date(_ text: ArraySlice<UInt8>) -> DateTime? {
        let parts = text.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].count <= 2, parts[2].count == 4, let day = ASCII.number(parts[0]),
            let month = DateTime.month(named: parts[1]), let year = ASCII.number(parts[2])
        else { return nil }
        return DateTime(year: year, month: month, day: day)
    }

    /// `"17-Jul-1996 02:44:25 -0700"`.
    mutating func dateTime() throws(SyntaxError) -> DateTime {
        let text = try quoted()
        let words = text.split(separator: ASCII.space)
        guard words.count == 3, let date = Self.date(words[0]), words[2].count == 5,
            let full = DateTime(field: text), full.day == date.day
        else { throw SyntaxError("date and time expected, such as \"17-Jul-1996 02:44:25 -0700\"") }
        return full
    }
}
