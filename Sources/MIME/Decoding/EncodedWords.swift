import Encodings

/// Encoded words in header fields (RFC 2047, with the language of RFC 2231 §5).
package enum EncodedWords {
    private struct Word {
        /// nil for ASCII, which octets of any set are labelled as.
        var charset: Charset?
        var content: [UInt8]
        var length: Int

        var text: [UInt8] { charset?.utf8(content) ?? Charset.guess(content) }
    }

    /// How long an encoded word may be that is looked at; RFC 2047 §2 allows 75. Octets.
    private static let limit = 1000

    /// The unfolded value in UTF-8. Words that follow each other in one character set are joined before they are converted,
    /// since many are cut inside a character. Words in character sets that aren't known stay as they are. Other octets beyond
    /// ASCII, from one encoded word to the next, are taken for UTF-8 (RFC 6532) or Latin-1.
    package static func decode(_ value: [UInt8]) -> [UInt8] {
        guard value.contains(UInt8(ascii: "?")) else { return Charset.guess(value) }
        var text: [UInt8] = []
        var pending: Word?
        var plainStart = 0  // where the text began that is no encoded word
        var position = 0
        while position < value.count {
            guard value[position] == UInt8(ascii: "="), let word = word(value[position...]) else {
                position += 1
                continue
            }
            let between = value[plainStart..<position]
            position += word.length
            plainStart = position
            // White space between two encoded words is not part of the text (§6.2).
            if var open = pending, between.allSatisfy(ASCII.isWhitespace) {
                if open.charset == word.charset {
                    open.content += word.content
                    pending = open
                    continue
                }
                text += open.text
            } else {
                if let open = pending { text += open.text }
                text += Charset.guess(Array(between))
            }
            pending = word
        }
        if let open = pending { text += open.text }
        return text + Charset.guess(Array(value[plainStart...]))
    }

    /// The value as text: see `decode`.
    package static func text(_ value: [UInt8]) -> String { String(decoding: decode(value), as: UTF8.self) }

    /// What is wrong with the words of an unfolded value: too long, in a set that isn't known, or begun and not ended.
    package static func defects(of value: [UInt8]) -> Defects {
        var defects: Defects = []
        var position = 0
        let mark = UInt8(ascii: "?")
        while let start = value[position...].firstIndex(of: UInt8(ascii: "=")) {
            position = start + 1
            if let word = word(value[start...]) {
                if word.length > 75 { defects.insert(.invalidEncodedWord) }
                position = start + word.length
                continue
            }
            guard position < value.count, value[position] == mark else { continue }
            let label = value[(position + 1)...].prefix(80).prefix { isTokenCharacter($0) }
            let kind = label.endIndex + 1
            guard !label.isEmpty, kind + 1 < value.count, value[label.endIndex] == mark, value[kind + 1] == mark else {
                continue
            }
            let isKnown = Charset(label.prefix { $0 != UInt8(ascii: "*") }) != nil
            defects.insert(isKnown ? .invalidEncodedWord : .unknownCharset)
        }
        return defects
    }

    /// How many octets the encoded word has that begins here, whatever its character set; nil where none does, or where
    /// another one begins before its end.
    static func length(_ octets: ArraySlice<UInt8>) -> Int? {
        let mark = UInt8(ascii: "?")
        let start = octets.startIndex
        guard octets.count > 7, octets[start] == UInt8(ascii: "="), octets[start + 1] == mark else { return nil }
        let label = octets.dropFirst(2).prefix(80).prefix { isTokenCharacter($0) }
        let kind = label.endIndex + 1
        guard !label.isEmpty, kind + 1 < octets.endIndex, octets[label.endIndex] == mark, octets[kind + 1] == mark,
            "bBqQ".utf8.contains(octets[kind])
        else { return nil }
        var end = kind + 2
        let last = min(octets.endIndex - 1, start + limit)
        while end < last {
            if octets[end] == mark, octets[end + 1] == UInt8(ascii: "=") { return end + 2 - start }
            if octets[end] == UInt8(ascii: "="), octets[end + 1] == mark {
                // `=` may be the word's last character.
                guard end + 2 < octets.endIndex, octets[end + 2] == UInt8(ascii: "=") else { return nil }
            }
            end += 1
        }
        return nil
    }

    /// `=?charset*language?B?text?=` at the start.
    private static func word(_ octets: ArraySlice<UInt8>) -> Word? {
        let octets = octets.prefix(limit)
        let mark = UInt8(ascii: "?")
        guard octets.count > 7, octets[octets.startIndex + 1] == mark else { return nil }
        let label = octets.dropFirst(2).prefix(80).prefix { isTokenCharacter($0) }
        let set = label.prefix { $0 != UInt8(ascii: "*") }
        let kind = label.endIndex + 1
        guard kind + 1 < octets.endIndex, octets[label.endIndex] == mark, octets[kind + 1] == mark,
            let charset = Charset(set)
        else { return nil }
        let start = kind + 2
        var end = start
        // `?=` right at the start of Q may be a question mark before an escape.
        while end + 1 < octets.endIndex, octets[end] != mark || octets[end + 1] != UInt8(ascii: "=") { end += 1 }
        guard end + 1 < octets.endIndex, let content = content(octets[kind], octets[start..<end]) else { return nil }
        return Word(
            charset: Charset.isASCII(set) ? nil : charset,
            content: content,
            length: end + 2 - octets.startIndex
        )
    }

    private static func isTokenCharacter(_ octet: UInt8) -> Bool {
        octet > 0x20 && octet < 0x7F && octet != UInt8(ascii: "?") && octet != UInt8(ascii: "=")
    }

    private static func content(_ kind: UInt8, _ text: ArraySlice<UInt8>) -> [UInt8]? {
        switch ASCII.lower(kind) {
        case UInt8(ascii: "b"): TransferDecoder.decode(text, .base64)
        case UInt8(ascii: "q"): quoted(text)
        default: nil
        }
    }

    /// The Q encoding (§4.2).
    private static func quoted(_ text: ArraySlice<UInt8>) -> [UInt8] {
        let spaced = text.map { $0 == UInt8(ascii: "_") ? ASCII.space : $0 }
        return ASCII.unescaped(spaced[...], sign: UInt8(ascii: "="))
    }
}

extension EncodedWords {
    /// The text as encoded words of UTF-8, each of at most so many octets, none cut inside a character; B or Q, whichever is
    /// shorter. Safe in text, phrases and comments (§5).
    ///
    /// - Parameters:
    ///   - first: room for the first word, where something stands before it in its line.
    ///   - limit: at most 75.
    package static func encode(_ text: String, first: Int = 75, limit: Int = 75) -> [[UInt8]] {
        let isQuoted = quotedLength(text) <= (text.utf8.count + 2) / 3 * 4
        var words: [[UInt8]] = []
        var piece: [UInt8] = []
        var length = 0
        for scalar in text.unicodeScalars {
            let octets = Array(UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            let more = isQuoted ? octets.reduce(0) { $0 + (isPlain($1) || $1 == ASCII.space ? 1 : 3) } : octets.count
            let room = max(20, (words.isEmpty ? first : limit)) - 12
            let isFull = isQuoted ? length + more > room : (length + more + 2) / 3 * 4 > room
            if isFull, !piece.isEmpty {
                words.append(word(piece, isQuoted: isQuoted))
                piece = []
                length = 0
            }
            piece += octets
            length += more
        }
        if !piece.isEmpty { words.append(word(piece, isQuoted: isQuoted)) }
        return words
    }

    private static func word(_ piece: [UInt8], isQuoted: Bool) -> [UInt8] {
        var word = Array((isQuoted ? "=?utf-8?q?" : "=?utf-8?b?").utf8)
        if isQuoted {
            for octet in piece {
                if octet == ASCII.space {
                    word.append(UInt8(ascii: "_"))
                } else if isPlain(octet) {
                    word.append(octet)
                } else {
                    let digits = QuotedPrintableEncoder.digits
                    word += [UInt8(ascii: "="), digits[Int(octet >> 4)], digits[Int(octet & 15)]]
                }
            }
        } else {
            word += Base64Encoder.line(piece)
        }
        return word + "?=".utf8
    }

    private static func quotedLength(_ text: String) -> Int {
        text.utf8.reduce(0) { $0 + (isPlain($1) || $1 == ASCII.space ? 1 : 3) }
    }

    /// What may stand for itself in the Q encoding even within a phrase (§5 (3)).
    private static func isPlain(_ octet: UInt8) -> Bool {
        ASCII.isLetter(octet) || ASCII.isDigit(octet) || "!*+-/".utf8.contains(octet)
    }
}
