import MIME

/// What a subject is without the marks of replies and forwards (RFC 5256 §2.1): what SORT and THREAD compare. Takes the value
/// with its encoded words decoded.
package struct BaseSubject: Sendable, Equatable {
    /// In lower case.
    package let text: [UInt8]
    /// Whether there were such marks.
    package let isReplyOrForward: Bool

    /// What counts of a subject. Octets.
    private static let maximumLength = 4096

    /// - Parameter subject: decoded; in lower case already, for all marks are the same in any.
    package init(folded subject: [UInt8]) {
        var text = Self.withSingleBlanks(subject.prefix(Self.maximumLength))[...]
        var isReply = false
        repeat {
            while let shorter = Self.withoutTrailer(text) {
                isReply = isReply || text.last == UInt8(ascii: ")")
                text = shorter
            }
            while let shorter = Self.withoutLeader(text) {
                isReply = isReply || text.first != ASCII.space
                text = shorter
            }
            // No mark stands behind the blobs, so none comes to the front as they go: they are walked through once.
            while let shorter = Self.withoutBlob(text), !shorter.isEmpty { text = shorter }
            guard let inner = Self.forwarded(text) else { break }
            isReply = true
            text = inner
        } while true
        self.text = Array(text)
        isReplyOrForward = isReply
    }

    private static func withSingleBlanks(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var short: [UInt8] = []
        for octet in text {
            let octet = ASCII.isWhitespace(octet) ? ASCII.space : octet
            if octet != ASCII.space || short.last != ASCII.space { short.append(octet) }
        }
        return short
    }

    /// `(fwd)` or a blank at the end.
    private static func withoutTrailer(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        if text.last == ASCII.space { return text.dropLast() }
        return text.suffix(5).elementsEqual("(fwd)".utf8) ? text.dropLast(5) : nil
    }

    /// Blobs, then `re`, `fw` or `fwd`, perhaps a blob, and a colon; or a blank.
    private static func withoutLeader(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        if text.first == ASCII.space { return text.dropFirst() }
        var rest = text
        while let shorter = withoutBlob(rest) { rest = shorter }
        if rest.starts(with: "re".utf8) {
            rest = rest.dropFirst(2)
        } else if rest.starts(with: "fwd".utf8) {
            rest = rest.dropFirst(3)
        } else if rest.starts(with: "fw".utf8) {
            rest = rest.dropFirst(2)
        } else {
            return nil
        }
        rest = rest.drop { $0 == ASCII.space }
        if let shorter = withoutBlob(rest) { rest = shorter }
        return rest.first == UInt8(ascii: ":") ? rest.dropFirst() : nil
    }

    /// `[text]` with blanks behind it, at the beginning.
    private static func withoutBlob(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard text.first == UInt8(ascii: "[") else { return nil }
        let inner = text.dropFirst().prefix { $0 != UInt8(ascii: "[") && $0 != UInt8(ascii: "]") }
        let rest = text[inner.endIndex...]
        guard rest.first == UInt8(ascii: "]") else { return nil }
        return rest.dropFirst().drop { $0 == ASCII.space }
    }

    /// What is within `[fwd: …]`.
    private static func forwarded(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard text.starts(with: "[fwd:".utf8), text.last == UInt8(ascii: "]") else { return nil }
        return text.dropFirst(5).dropLast()
    }
}
