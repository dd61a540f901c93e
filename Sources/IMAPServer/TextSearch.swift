import MIME
import Mailbox
import NIOCore

/// Finds text in octets that come in pieces.
struct TextMatcher: Sendable {
    private var matcher: OctetMatcher
    private(set) var isFound: Bool

    init(_ wanted: [UInt8]) {
        matcher = OctetMatcher(wanted)
        isFound = wanted.isEmpty
    }

    mutating func feed(_ octets: some Sequence<UInt8>) {
        guard !isFound else { return }
        for octet in octets where matcher.feed(octet) {
            isFound = true
            return
        }
    }

    static func contains(_ text: [UInt8], _ wanted: [UInt8]) -> Bool {
        var matcher = TextMatcher(wanted)
        matcher.feed(text)
        return matcher.isFound
    }

    /// By i;unicode-casemap (RFC 5255 §4.3).
    static func fold(_ text: [UInt8]) -> [UInt8] { UnicodeCasemap.fold(text) }

    /// The same for the text of a field: where it's folded, some have a tab for the blank.
    static func foldField(_ text: [UInt8]) -> [UInt8] {
        fold(text.map { $0 == ASCII.tab ? ASCII.space : $0 })
    }
}

/// BODY and TEXT of SEARCH: searches the decoded text of text parts and the headers of parts.
struct TextSearch: Sendable {
    /// What is looked for, folded.
    let wanted: [UInt8]
    fileprivate let matcher: TextMatcher
    fileprivate let fieldMatcher: TextMatcher
    let includesHeader: Bool

    init(_ text: [UInt8], includingHeader: Bool) {
        wanted = TextMatcher.fold(text)
        matcher = TextMatcher(wanted)
        fieldMatcher = TextMatcher(TextMatcher.foldField(text))
        includesHeader = includingHeader
    }

    /// Begins to search a message.
    func scan(_ reader: MessageReader, _ root: MessagePart) -> TextScan { TextScan(self, reader, root) }
}

/// A text search in one message, in short steps, so that others have their turns between them.
struct TextScan {
    private let search: TextSearch
    private var walk: TextWalk
    private var matcher: TextMatcher

    fileprivate init(_ search: TextSearch, _ reader: MessageReader, _ root: MessagePart) {
        self.search = search
        walk = TextWalk(reader, root, includesHeader: search.includesHeader)
        matcher = search.matcher
    }

    /// Goes on until the work is done or the budget used up.
    ///
    /// - Parameter budget: octets that may still be read; is lowered.
    /// - Returns: nil as long as it has to be called again.
    mutating func advance(_ budget: inout Int) throws(MailboxError) -> Bool? {
        while let piece = try walk.next(&budget) {
            switch piece {
            case .field(_, let text):
                var matcher = search.fieldMatcher
                matcher.feed(text)
                if matcher.isFound { return true }
            case .text(let text, let isBeginning):
                if isBeginning { matcher = search.matcher }
                matcher.feed(text)
                if matcher.isFound { return true }
            }
            if budget <= 0 { return nil }
        }
        return false
    }
}

/// What SEARCH TEXT looks through in one message, collected in short steps, for the index.
struct TextCollection {
    private var walk: TextWalk
    private(set) var header: [UInt8] = []
    private(set) var body: [UInt8] = []

    init(_ reader: MessageReader, _ root: MessagePart) {
        walk = TextWalk(reader, root, includesHeader: true)
    }

    /// Goes on until the work is done or the budget used up.
    ///
    /// - Parameters:
    ///   - budget: octets that may still be read; is lowered.
    ///   - maximum: octets of text.
    /// - Returns: nil as long as it has to be called again; false where there is more text than the maximum.
    mutating func advance(_ budget: inout Int, maximum: Int) throws(MailboxError) -> Bool? {
        while let piece = try walk.next(&budget) {
            switch piece {
            // Parts' own headers are searched by BODY too (RFC 3501 §6.4.4).
            case .field(let isMessages, let text):
                if isMessages { header += text + [ASCII.lineFeed] } else { body += text + [ASCII.lineFeed] }
            case .text(let text, let isBeginning):
                if isBeginning { body.append(ASCII.lineFeed) }
                body += text
            }
            if header.count + body.count > maximum { return false }
            if budget <= 0 { return nil }
        }
        return true
    }
}

/// Goes through the texts of a message: the fields of its headers and the decoded text parts, in small letters.
private struct TextWalk {
    enum Piece {
        /// A field, of the message's own header or of a part's.
        case field(isMessages: Bool, [UInt8])
        /// More of a text part.
        case text([UInt8], isBeginning: Bool)
    }

    private enum Place {
        case header(Range<Int>, isMessages: Bool)
        case text(MessagePart)
    }

    /// A part that is being read. One decoder for the whole part: characters and shifts of a set go on from piece to piece.
    private struct Part {
        var decoder: BodyDecoder
        var offset: Int
        let end: Int
        var isBeginning = true
    }

    private let reader: MessageReader
    /// Where to look, the last one first.
    private var places: [Place] = []
    private var part: Part?
    /// Fields of the header that was read last, the last one first.
    private var fields: [(isMessages: Bool, text: [UInt8])] = []

    init(_ reader: MessageReader, _ root: MessagePart, includesHeader: Bool) {
        self.reader = reader
        if includesHeader { places.append(.header(root.header, isMessages: true)) }
        addContent(of: root)
        places.reverse()
    }

    private mutating func addContent(of part: MessagePart) {
        if part.children.isEmpty, part.content.isReadable { places.append(.text(part)) }
        for child in part.children {
            places.append(.header(child.header, isMessages: false))
            addContent(of: child)
        }
    }

    /// The next piece; nil at the end.
    ///
    /// - Parameter budget: is lowered by what was read.
    mutating func next(_ budget: inout Int) throws(MailboxError) -> Piece? {
        while true {
            if let field = fields.popLast() { return .field(isMessages: field.isMessages, field.text) }
            if part != nil { return try readPart(&budget) }
            switch places.popLast() {
            case nil: return nil
            case .header(let range, let isMessages): try readHeader(range, isMessages, &budget)
            case .text(let found):
                part = Part(
                    decoder: BodyDecoder(found.content, toUTF8: true),
                    offset: found.body.lowerBound,
                    end: found.body.upperBound
                )
            }
        }
    }

    private mutating func readHeader(_ range: Range<Int>, _ isMessages: Bool, _ budget: inout Int) throws(MailboxError)
    {
        let block = try MessageContent.header(reader, in: range)
        budget -= block.octets.count
        fields = block.fields.reversed().map { field in
            let value = EncodedWords.decode(block.value(of: field))
            var text = block.name(of: field) + [UInt8(ascii: ":"), ASCII.space] + value
            if MessageSearch.isAddressField(Array(block.name(of: field))) {
                // As ENVELOPE has them too, without the comments that may stand in them.
                for address in AddressListParser.parse(block.value(of: field)) {
                    guard let mailbox = address.mailbox, let host = address.host else { continue }
                    text += [ASCII.space] + EncodedWords.decode(mailbox + [UInt8(ascii: "@")] + host)
                }
            }
            return (isMessages, TextMatcher.foldField(Array(text)))
        }
    }

    private mutating func readPart(_ budget: inout Int) throws(MailboxError) -> Piece? {
        guard var part else { return nil }
        let piece = try reader.read(at: part.offset, count: min(MessageContent.chunk, part.end - part.offset))
        self.part = nil
        var text: [UInt8] = []
        let isBeginning = part.isBeginning
        if piece.readableBytes > 0 {
            part.offset += piece.readableBytes
            part.isBeginning = false
            budget -= piece.readableBytes
            part.decoder.decode(piece.readableBytesView, into: &text)
            self.part = part
        } else {
            part.decoder.finish(into: &text)
        }
        return .text(TextMatcher.fold(text), isBeginning: isBeginning)
    }
}
