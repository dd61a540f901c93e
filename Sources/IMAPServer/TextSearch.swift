import MIME
import Mailbox
import NIOCore

/// Finds text in octets that come in pieces, in linear time (Knuth, Morris and Pratt).
struct TextMatcher {
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
struct TextSearch {
    private let wanted: [UInt8]
    private let wantedInFields: [UInt8]

    init(_ text: [UInt8]) {
        wanted = TextMatcher.fold(text)
        wantedInFields = TextMatcher.foldField(text)
    }

    func matches(_ candidate: SearchCandidate, includingHeader: Bool) throws(MailboxError) -> Bool {
        let reader = try candidate.folder.open(candidate.message.uid)
        let root = try MessageContent.structure(reader)
        if includingHeader, try header(reader, root.header) { return true }
        return try content(reader, root)
    }

    private func header(_ reader: MessageReader, _ range: Range<Int>) throws(MailboxError) -> Bool {
        let block = try MessageContent.header(reader, in: range)
        return block.fields.contains { field in
            let value = EncodedWords.decode(block.value(of: field))
            let text = block.name(of: field) + [UInt8(ascii: ":"), ASCII.space] + value
            return TextMatcher.contains(TextMatcher.foldField(Array(text)), wantedInFields)
        }
    }

    private func content(_ reader: MessageReader, _ part: MessagePart) throws(MailboxError) -> Bool {
        guard part.children.isEmpty else {
            for child in part.children {
                if try header(reader, child.header) { return true }
                if try content(reader, child) { return true }
            }
            return false
        }
        guard part.content.isReadable else { return false }
        return try text(reader, part)
    }

    private func text(_ reader: MessageReader, _ part: MessagePart) throws(MailboxError) -> Bool {
        // One decoder for the whole part: characters and shifts of a set go on from piece to piece.
        var decoder = BodyDecoder(part.content, toUTF8: true)
        var matcher = TextMatcher(wanted)
        var offset = part.body.lowerBound
        var text: [UInt8] = []
        while offset < part.body.upperBound, !matcher.isFound {
            let piece = try reader.read(at: offset, count: min(MessageContent.chunk, part.body.upperBound - offset))
            guard piece.readableBytes > 0 else { break }
            offset += piece.readableBytes
            text.removeAll(keepingCapacity: true)
            decoder.decode(piece.readableBytesView, into: &text)
            matcher.feed(TextMatcher.fold(text))
        }
        text.removeAll(keepingCapacity: true)
        decoder.finish(into: &text)
        matcher.feed(TextMatcher.fold(text))
        return matcher.isFound
    }
}
