/// One entry of a master file: the words of a line, or of several within parentheses.
struct MasterFileEntry {
    /// The line that it begins on, from 1.
    var line: Int
    /// Whether it begins with white space, so that the owner is the one of the entry before.
    var isIndented: Bool
    /// Its words.
    var tokens: [MasterFileToken] = []
}

/// Why a file can't be split into entries.
struct MasterFileLexerError: Error {
    var line: Int
    var reason: String
}

/// Splits a master file into entries (RFC 1035 §5.1): comments, parentheses, quotes.
struct MasterFileLexer {
    private let octets: [UInt8]
    private var position = 0
    private var line = 1

    init(_ octets: [UInt8]) {
        self.octets = octets
    }

    /// The next entry that has words; nil at the end.
    mutating func next() throws(MasterFileLexerError) -> MasterFileEntry? {
        while position < octets.count {
            let entry = try readEntry()
            if !entry.tokens.isEmpty { return entry }
        }
        return nil
    }

    private mutating func readEntry() throws(MasterFileLexerError) -> MasterFileEntry {
        var entry = MasterFileEntry(line: line, isIndented: octets[position] == 0x20 || octets[position] == 0x09)
        var depth = 0
        var wordEnd = -1
        while position < octets.count {
            switch octets[position] {
            case 0x0A:
                position += 1
                line += 1
                if depth == 0 { return entry }
            case 0x20, 0x09, 0x0D: position += 1
            case 0x3B: skipComment()
            case 0x28:
                position += 1
                depth += 1
            case 0x29:
                position += 1
                depth -= 1
                guard depth >= 0 else { throw MasterFileLexerError(line: line, reason: "a ) without its (") }
            default:
                let isAttached = position == wordEnd
                var token = octets[position] == 0x22 ? try readQuoted() : readWord()
                token.isAttached = isAttached
                entry.tokens.append(token)
                wordEnd = position
            }
        }
        guard depth == 0 else { throw MasterFileLexerError(line: entry.line, reason: "a ( without its )") }
        return entry
    }

    private mutating func skipComment() {
        while position < octets.count, octets[position] != 0x0A { position += 1 }
    }

    private mutating func readQuoted() throws(MasterFileLexerError) -> MasterFileToken {
        let start = line
        position += 1
        var text: [UInt8] = []
        while position < octets.count, octets[position] != 0x22, octets[position] != 0x0A {
            appendOctetOrEscape(to: &text)
        }
        guard position < octets.count, octets[position] == 0x22 else {
            throw MasterFileLexerError(line: start, reason: "a quote that isn't closed on its line")
        }
        position += 1
        return MasterFileToken(text, isQuoted: true)
    }

    private mutating func readWord() -> MasterFileToken {
        var text: [UInt8] = []
        while position < octets.count {
            switch octets[position] {
            case 0x20, 0x09, 0x0D, 0x0A, 0x3B, 0x28, 0x29, 0x22: return MasterFileToken(text)
            default: appendOctetOrEscape(to: &text)
            }
        }
        return MasterFileToken(text)
    }

    private mutating func appendOctetOrEscape(to text: inout [UInt8]) {
        if octets[position] == 0x5C, position + 1 < octets.count, octets[position + 1] != 0x0A {
            text.append(0x5C)
            position += 1
        }
        text.append(octets[position])
        position += 1
    }
}
