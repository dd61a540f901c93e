import MIME

/// A text with `*` for any characters; letters match in either case.
struct TextPattern: Sendable, Equatable {
    /// What has to stand there, in lower case.
    private struct Part: Sendable, Equatable {
        let octets: [UInt8]
        let matcher: OctetMatcher

        init(_ octets: some Sequence<UInt8>) {
            self.octets = Array(octets)
            matcher = OctetMatcher(self.octets)
        }

        /// Where the part ends that begins first from a place on.
        func end(in text: [UInt8], from start: Int) -> Int? {
            guard !octets.isEmpty else { return start }
            var matcher = matcher
            for place in start..<text.count where matcher.feed(ASCII.lower(text[place])) { return place + 1 }
            return nil
        }
    }

    private let parts: [Part]

    init(_ text: String) {
        parts = text.utf8.map(ASCII.lower).split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false)
            .map { Part($0) }
    }

    func matches(_ text: String) -> Bool { matches(Array(text.utf8)) }

    /// In time that grows with the text's length and the pattern's.
    func matches(_ text: [UInt8]) -> Bool {
        guard let first = parts.first, let last = parts.last, text.count >= first.octets.count,
            text.prefix(first.octets.count).lazy.map(ASCII.lower).elementsEqual(first.octets)
        else { return false }
        if parts.count == 1 { return text.count == first.octets.count }
        var position = first.octets.count
        for part in parts.dropFirst().dropLast() {
            guard let end = part.end(in: text, from: position) else { return false }
            position = end
        }
        return text.count - position >= last.octets.count
            && text.suffix(last.octets.count).lazy.map(ASCII.lower).elementsEqual(last.octets)
    }
}
