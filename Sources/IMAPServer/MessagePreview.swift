import MIME
import Mailbox
import NIOCore

/// The beginning of what a message says (RFC 8970): of its first text that isn't an attachment.
enum MessagePreview {
    /// Characters of Unicode, not what people take for one: that may have any number of them (RFC 8970 §3.2: at most 256).
    private static let length = 200
    /// What is read of a text to find so many. Octets.
    private static let maximumRead = 32 * 1024

    /// The preview in UTF-8, empty where there is no text.
    static func text(_ root: MessagePart, _ reader: MessageReader) throws(MailboxError) -> [UInt8] {
        guard let part = first("plain", in: root) ?? first("html", in: root) else { return [] }
        var decoder = BodyDecoder(part.content, toUTF8: true)
        var text: [UInt8] = []
        let count = min(maximumRead, part.body.count)
        decoder.decode(try reader.read(at: part.body.lowerBound, count: count).readableBytesView, into: &text)
        decoder.finish(into: &text)
        if ASCII.equal(part.content.subtype, "html") {
            var html = HTMLText()
            var plain: [UInt8] = []
            html.feed(text, into: &plain)
            html.finish(into: &plain)
            text = plain
        }
        return shortened(text)
    }

    private static func first(_ subtype: StaticString, in part: MessagePart) -> MessagePart? {
        if part.children.isEmpty {
            let isAttached = part.content.disposition.map { ASCII.equal($0.value, "attachment") } ?? false
            return part.content.isText && !isAttached && ASCII.equal(part.content.subtype, subtype) ? part : nil
        }
        for child in part.children {
            if let found = first(subtype, in: child) { return found }
        }
        return nil
    }

    /// One line of words with single blanks.
    static func shortened(_ text: [UInt8]) -> [UInt8] {
        var words: [UInt8] = []
        var isBlank = true
        var count = 0
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            guard count < length else { break }
            let isSpace = scalar.properties.isWhitespace || scalar == "\0"
            if isSpace, isBlank { continue }
            if isSpace {
                words.append(ASCII.space)
            } else {
                words += UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter
            }
            isBlank = isSpace
            count += 1
        }
        if words.last == ASCII.space { words.removeLast() }
        return words
    }
}
