import Encodings

/// How content is best sent, by what is in it (RFC 2045 §6).
package enum ContentEncoding: String, Sendable {
    case sevenBit = "7bit"
    case eightBit = "8bit"
    case quotedPrintable = "quoted-printable"
    case base64

    /// - Parameters:
    ///   - content: text with line ends CRLF, or anything.
    ///   - isText: whether it's text; other content is never sent in lines that somebody may change.
    package init(for content: [UInt8], isText: Bool, allowsEightBit: Bool) {
        guard isText else {
            self = .base64
            return
        }
        var high = 0
        var escaped = 0
        var line = 0
        var longest = 0
        var isBinary = false
        var isChanged = false  // relays drop blanks at the ends of lines, mailboxes escape "From "
        var last: UInt8 = ASCII.lineFeed
        for (index, octet) in content.enumerated() {
            switch octet {
            case ASCII.lineFeed:
                if last != ASCII.carriageReturn { isBinary = true }
                longest = max(longest, line - 1)
                line = 0
            case ASCII.carriageReturn: if ASCII.isBlank(last) { isChanged = true }
            case 0: isBinary = true
            case 0x80...:
                high += 1
                escaped += 1
            case UInt8(ascii: "="): escaped += 1
            case UInt8(ascii: "F") where line == 0:
                if content[index...].starts(with: "From ".utf8) { isChanged = true }
            default: if octet < 0x20, octet != ASCII.tab { escaped += 1 }
            }
            if last == ASCII.carriageReturn, octet != ASCII.lineFeed { isBinary = true }
            if octet != ASCII.lineFeed { line += 1 }
            last = octet
        }
        longest = max(longest, line)
        if last == ASCII.carriageReturn { isBinary = true }
        if !isBinary, longest <= 998, !isChanged, high == 0 {
            self = .sevenBit
        } else if !isBinary, longest <= 998, !isChanged, allowsEightBit {
            self = .eightBit
        } else {
            self = content.count + 2 * escaped <= content.count / 3 * 4 ? .quotedPrintable : .base64
        }
    }

    /// The content in this encoding; its line ends count as content where it isn't text.
    package func encode(_ content: [UInt8], isText: Bool) -> [UInt8] {
        var text: [UInt8] = []
        switch self {
        case .sevenBit, .eightBit: return content
        case .quotedPrintable:
            var encoder = QuotedPrintableEncoder(isBinary: !isText)
            encoder.encode(content, into: &text)
            encoder.finish(into: &text)
        case .base64:
            var encoder = Base64Encoder()
            encoder.encode(content, into: &text)
            encoder.finish(into: &text)
        }
        return text
    }
}
