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
}

/// BODY and TEXT of SEARCH: searches the decoded text of text parts and the headers of parts.
struct TextSearch {
    private let wanted: [UInt8]

    init(_ text: [UInt8]) { wanted = TextMatcher.fold(text) }

    func matches(_ candidate: SearchCandidate, includingHeader: Bool) throws(MailboxError) -> Bool {
        let reader = try candidate.folder.open(candidate.message.uid)
        let root = try MessageContent.structure(reader)
        if includingHeader, try header(reader, root.header) { return true }
        return try content(reader, root)
    }

    private func header(_ reader: MessageReader, _ range: Range<Int>) throws(MailboxError) -> Bool {
        let block = HeaderBlock(try MessageContent.header(reader, in: range))
        return block.fields.contains { field in
            let text =
                block.name(of: field) + [UInt8(ascii: ":"), ASCII.space] + EncodedWords.decode(block.value(of: field))
            return TextMatcher.contains(TextMatcher.fold(Array(text)), wanted)
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
        guard part.content.isText || part.content.isMultipart else { return false }
        return try text(reader, part)
    }

    private func text(_ reader: MessageReader, _ part: MessagePart) throws(MailboxError) -> Bool {
        var decoder = TransferDecoder(part.content.encoding)
        var matcher = TextMatcher(wanted)
        let charset = part.content.charset ?? .utf8
        var offset = part.body.lowerBound
        var held: [UInt8] = []  // the start of a character that is cut
        while offset < part.body.upperBound, !matcher.isFound {
            let piece = try reader.read(at: offset, count: min(MessageContent.chunk, part.body.upperBound - offset))
            guard piece.readableBytes > 0 else { break }
            offset += piece.readableBytes
            var text: [UInt8] = []
            decoder.decode(piece.readableBytesView, into: &text)
            text = held + charset.utf8(text)
            held = Self.cutCharacter(text)
            text.removeLast(held.count)
            matcher.feed(TextMatcher.fold(text))
        }
        decoder.finish(into: &held)
        matcher.feed(TextMatcher.fold(held))
        return matcher.isFound
    }

    /// The octets of a UTF-8 character at the end that isn't complete.
    private static func cutCharacter(_ text: [UInt8]) -> [UInt8] {
        let tail = text.suffix(3)
        guard let start = tail.lastIndex(where: { $0 >= 0xC0 }) else { return [] }
        let length = text[start] >= 0xF0 ? 4 : text[start] >= 0xE0 ? 3 : 2
        return text.count - start < length ? Array(text[start...]) : []
    }
}
