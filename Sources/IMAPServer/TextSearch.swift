import MIME
import Mailbox
import NIOCore

/// Finds text in octets that come in pieces, in linear time (Knuth, Morris and Pratt).
struct TextMatcher: Sendable {
    private let wanted: [UInt8]
    private let fallback: [Int]
    private var matched = 0
    private(set) var isFound: Bool

    init(_ wanted: [UInt8]) {
        self.wanted = wanted
        isFound = wanted.isEmpty
        var fallback = [Int](repeating: 0, count: wanted.count)
        var length = 0
        for index in wanted.indices.dropFirst() {
            while length > 0, wanted[index] != wanted[length] { length = fallback[length - 1] }
            if wanted[index] == wanted[length] { length += 1 }
            fallback[index] = length
        }
        self.fallback = fallback
    }

    mutating func feed(_ octets: some Sequence<UInt8>) {
        guard !isFound else { return }
        for octet in octets {
            while matched > 0, octet != wanted[matched] { matched = fallback[matched - 1] }
            if octet == wanted[matched] { matched += 1 }
            if matched == wanted.count {
                isFound = true
                return
            }
        }
    }

    static func contains(_ text: [UInt8], _ wanted: [UInt8]) -> Bool {
        var matcher = TextMatcher(wanted)
        matcher.feed(text)
        return matcher.isFound
    }

    /// Lower case, also beyond ASCII.
    static func fold(_ text: [UInt8]) -> [UInt8] {
        guard text.contains(where: { $0 >= 0x80 }) else { return text.map(ASCII.lower) }
        return Array(String(decoding: text, as: UTF8.self).lowercased().utf8)
    }

    /// The same for the text of a field: where it's folded, some have a tab for the blank.
    static func foldField(_ text: [UInt8]) -> [UInt8] {
        fold(text.map { $0 == ASCII.tab ? ASCII.space : $0 })
    }
}

/// BODY and TEXT of SEARCH: searches the decoded text of text parts and the headers of parts.
struct TextSearch: Sendable {
    fileprivate let matcher: TextMatcher
    fileprivate let fieldMatcher: TextMatcher
    fileprivate let includesHeader: Bool

    init(_ text: [UInt8], includingHeader: Bool) {
        matcher = TextMatcher(TextMatcher.fold(text))
        fieldMatcher = TextMatcher(TextMatcher.foldField(text))
        includesHeader = includingHeader
    }

    /// Begins to search a message.
    func scan(_ reader: MessageReader, _ root: MessagePart) -> TextScan { TextScan(self, reader, root) }
}

/// A text search in one message, in short steps, so that others have their turns between them.
struct TextScan {
    private enum Place {
        case header(Range<Int>)
        case text(MessagePart)
    }

    /// A part that is being searched. One decoder for the whole part: characters and shifts of a set go on from piece to
    /// piece.
    private struct Part {
        var decoder: BodyDecoder
        var matcher: TextMatcher
        var offset: Int
        let end: Int
    }

    private let search: TextSearch
    private let reader: MessageReader
    /// Where to look, the last one first.
    private var places: [Place] = []
    private var part: Part?

    fileprivate init(_ search: TextSearch, _ reader: MessageReader, _ root: MessagePart) {
        self.search = search
        self.reader = reader
        if search.includesHeader { places.append(.header(root.header)) }
        addContent(of: root)
        places.reverse()
    }

    private mutating func addContent(of part: MessagePart) {
        if part.children.isEmpty, part.content.isReadable { places.append(.text(part)) }
        for child in part.children {
            places.append(.header(child.header))
            addContent(of: child)
        }
    }

    /// Goes on until the work is done or the budget used up.
    ///
    /// - Parameter budget: octets that may still be read; is lowered.
    /// - Returns: nil as long as it has to be called again.
    mutating func advance(_ budget: inout Int) throws(MailboxError) -> Bool? {
        while true {
            if part != nil {
                if try advancePart(&budget) { return true }
            } else {
                switch places.popLast() {
                case nil: return false
                case .header(let range): if try isIn(header: range, &budget) { return true }
                case .text(let found):
                    part = Part(
                        decoder: BodyDecoder(found.content, toUTF8: true),
                        matcher: search.matcher,
                        offset: found.body.lowerBound,
                        end: found.body.upperBound
                    )
                }
            }
            if budget <= 0, part != nil || !places.isEmpty { return nil }
        }
    }

    private func isIn(header range: Range<Int>, _ budget: inout Int) throws(MailboxError) -> Bool {
        let block = try MessageContent.header(reader, in: range)
        budget -= block.octets.count
        return block.fields.contains { field in
            let value = EncodedWords.decode(block.value(of: field))
            let text = block.name(of: field) + [UInt8(ascii: ":"), ASCII.space] + value
            var matcher = search.fieldMatcher
            matcher.feed(TextMatcher.foldField(Array(text)))
            return matcher.isFound
        }
    }

    private mutating func advancePart(_ budget: inout Int) throws(MailboxError) -> Bool {
        guard var part else { return false }
        let piece = try reader.read(at: part.offset, count: min(MessageContent.chunk, part.end - part.offset))
        self.part = nil
        var text: [UInt8] = []
        if piece.readableBytes > 0 {
            part.offset += piece.readableBytes
            budget -= piece.readableBytes
            part.decoder.decode(piece.readableBytesView, into: &text)
        } else {
            part.decoder.finish(into: &text)
        }
        part.matcher.feed(TextMatcher.fold(text))
        if piece.readableBytes > 0, !part.matcher.isFound { self.part = part }
        return part.matcher.isFound
    }
}
