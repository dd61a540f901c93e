import MIME

/// Parses APPEND (RFC 3501 §6.3.11, RFC 3502, RFC 3516 §4.4, RFC 4469, RFC 6855 §4) and REPLACE (RFC 8508) in stretches: what
/// stands between two literals that are content of messages.
struct AppendGrammar: Sendable {
    /// What a stretch is.
    enum Stretch {
        /// The literal at its end is an argument, as the mailbox's name: parse it again, with what there was of it, when the
        /// literal's octets and the rest of the line have come.
        case argument
        case steps([AppendStep], isOver: Bool)
        case malformed(String)
    }

    /// Where the next stretch goes on.
    private enum Place: Sendable {
        case command
        /// Behind a message that was one literal.
        case endOfMessage
        /// Behind the literal of `UTF8 (…`.
        case utf8
        /// Behind a piece of `CATENATE (…`.
        case pieces
        /// At a URL of it that is a literal.
        case url
    }

    /// Pieces that one message may be put together of.
    private static let maximumPieces = 1000

    let tag: String
    private let usesUTF8: Bool
    private var place = Place.command
    private var isReplace = false
    private var pieces = 0
    /// Of a stretch whose argument is a literal: what was read before it, and how many octets that was. There may be many, so
    /// the stretch isn't read from its start for each.
    private var kept: [AppendStep] = []
    private var reached = 0

    /// Begins where the line is one of these commands; nil for any other.
    init?(_ line: [UInt8], usesUTF8: Bool) {
        guard let tag = CommandGrammar.tag(of: line) else { return nil }
        var scanner = CommandScanner(line)
        _ = scanner.run(CommandGrammar.isTagCharacter)
        guard scanner.blanks() else { return nil }
        if scanner.take(word: "UID") { scanner.blanks() }
        let name = scanner.run(ASCII.isLetter)
        guard scanner.next == ASCII.space, ASCII.equal(name, "APPEND") || ASCII.equal(name, "REPLACE") else {
            return nil
        }
        self.tag = tag
        self.usesUTF8 = usesUTF8
    }

    /// Parses the next stretch, up to and with its line end.
    ///
    /// - Parameter hasLiteral: whether it ends in the head of a literal.
    mutating func parse(_ octets: [UInt8], hasLiteral: Bool) -> Stretch {
        var scanner = CommandScanner(octets, usesUTF8: usesUTF8)
        scanner.skip(reached)
        var steps = kept
        reached = 0
        kept = []
        do throws(SyntaxError) {
            switch place {
            case .command:
                guard let begin = try begin(&scanner, hasLiteral) else { return .argument }
                steps.append(begin)
                guard try message(&scanner, &steps, hasLiteral) else { return .argument }
            case .endOfMessage: steps.append(.endOfMessage)
            case .utf8:
                scanner.blanks()
                try scanner.expect(UInt8(ascii: ")"), "end of list")
                steps.append(.endOfMessage)
            case .pieces: guard try morePieces(&scanner, &steps, hasLiteral) else { return .argument }
            case .url: guard try url(&scanner, &steps, hasLiteral) else { return .argument }
            }
            while steps.last == .endOfMessage {
                if scanner.takeLineEnd() { return .steps(steps + [.end], isOver: true) }
                try scanner.space()
                if scanner.takeLineEnd() { return .steps(steps + [.end], isOver: true) }
                guard !isReplace else { throw SyntaxError("REPLACE takes one message") }
                guard try message(&scanner, &steps, hasLiteral, isBehindBlank: true) else { return .argument }
            }
            return .steps(steps, isOver: false)
        } catch {
            return .malformed(error.reason)
        }
    }

    /// The command's name, the message that it replaces, and the mailbox; nil where the mailbox is a literal to come.
    private mutating func begin(_ scanner: inout CommandScanner, _ hasLiteral: Bool) throws(SyntaxError) -> AppendStep?
    {
        _ = scanner.run(CommandGrammar.isTagCharacter)
        try scanner.space()
        var name = try scanner.keyword()
        let byUID = name == "UID"
        if byUID {
            try scanner.space()
            name = try scanner.keyword()
        }
        isReplace = name == "REPLACE"
        guard isReplace || !byUID else { throw SyntaxError("unknown command after UID") }
        try scanner.space()
        var replaced: ReplacedMessage?
        if isReplace {
            replaced = ReplacedMessage(try scanner.sequenceNumber(), byUID: byUID)
            try scanner.space()
        }
        if hasLiteral, scanner.literalHead() != nil { return nil }
        return .begin(try scanner.mailbox(), replacing: replaced)
    }

    /// Flags, date and the beginning of the content; false where the stretch ends in an argument.
    private mutating func message(
        _ scanner: inout CommandScanner,
        _ steps: inout [AppendStep],
        _ hasLiteral: Bool,
        isBehindBlank: Bool = false
    ) throws(SyntaxError) -> Bool {
        if !isBehindBlank { try scanner.space() }
        var message = AppendedMessage()
        if scanner.next == UInt8(ascii: "(") {
            message.flags = try scanner.list { scanner throws(SyntaxError) in try scanner.flag() }
            guard message.flags.count <= CommandGrammar.count else { throw SyntaxError("too many flags") }
            try scanner.space()
        }
        if scanner.next == ASCII.quote {
            message.date = try scanner.dateTime()
            try scanner.space()
        }
        if scanner.take(word: "CATENATE (") {
            message.isCatenated = true
            pieces = 0
            steps.append(.message(message))
            return try piece(&scanner, &steps, hasLiteral)
        }
        let isUTF8 = scanner.take(word: "UTF8 (")
        guard hasLiteral, let literal = scanner.literalHead(), literal.isBinary || !isUTF8 else {
            throw SyntaxError("a literal is expected")
        }
        place = isUTF8 ? .utf8 : .endOfMessage
        steps += [.message(message), .literal(literal)]
        return true
    }

    /// A piece of `CATENATE (…`, and what follows it.
    private mutating func piece(
        _ scanner: inout CommandScanner,
        _ steps: inout [AppendStep],
        _ hasLiteral: Bool
    ) throws(SyntaxError) -> Bool {
        pieces += 1
        guard pieces <= Self.maximumPieces else { throw SyntaxError("too many pieces") }
        scanner.blanks()
        if scanner.take(word: "TEXT ") {
            guard hasLiteral, let literal = scanner.literalHead() else { throw SyntaxError("a literal is expected") }
            place = .pieces
            steps.append(.literal(literal))
            return true
        }
        guard scanner.take(word: "URL ") else { throw SyntaxError("TEXT or URL expected") }
        return try url(&scanner, &steps, hasLiteral)
    }

    private mutating func url(
        _ scanner: inout CommandScanner,
        _ steps: inout [AppendStep],
        _ hasLiteral: Bool
    ) throws(SyntaxError) -> Bool {
        let start = scanner.position
        if hasLiteral, scanner.literalHead() != nil {
            place = .url
            reached = start
            kept = steps
            return false
        }
        steps.append(.url(try scanner.astring()))
        return try morePieces(&scanner, &steps, hasLiteral)
    }

    private mutating func morePieces(
        _ scanner: inout CommandScanner,
        _ steps: inout [AppendStep],
        _ hasLiteral: Bool
    ) throws(SyntaxError) -> Bool {
        if scanner.another() { return try piece(&scanner, &steps, hasLiteral) }
        try scanner.expect(UInt8(ascii: ")"), "end of list")
        place = .endOfMessage
        steps.append(.endOfMessage)
        return true
    }
}
