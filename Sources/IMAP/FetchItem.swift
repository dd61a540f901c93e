/// What FETCH asks of a message (RFC 3501 §6.4.5). Macros have been replaced by what they stand for.
package enum FetchItem: Sendable, Equatable {
    case envelope
    case flags
    case internalDate
    case uid
    case size
    /// BODYSTRUCTURE
    case bodyStructure
    /// BODY without a section: the structure without extension data.
    case body
    /// BODY[…] and BODY.PEEK[…].
    case section(Section, partial: Partial?, peek: Bool)
    /// RFC822, answered under that name.
    case rfc822
    case rfc822Header
    case rfc822Text
    /// BINARY[…] and BINARY.PEEK[…] (RFC 3516 §4.2): a part without its transfer encoding.
    case binary([Int], partial: Partial?, peek: Bool)
    /// BINARY.SIZE[…] (RFC 3516 §4.3)
    case binarySize([Int])
    /// RFC 8970; a lazy one may be answered with nothing.
    case preview(isLazy: Bool)
    /// RFC 7162 §3.1.4.2
    case modSequence
    /// RFC 8474 §5
    case emailID
    case threadID
    /// RFC 8514
    case saveDate

    /// Whether the item makes the message \Seen.
    package var setsSeen: Bool {
        switch self {
        case .section(_, _, let peek), .binary(_, _, let peek): !peek
        case .rfc822, .rfc822Text: true
        case .envelope, .flags, .internalDate, .uid, .size, .bodyStructure, .body, .rfc822Header, .binarySize, .preview,
            .modSequence, .emailID, .threadID, .saveDate:
            false
        }
    }
}

/// Octets of a section from `start` on, at most `count` (RFC 3501 §6.4.5).
package struct Partial: Sendable, Equatable {
    package var start: Int
    package var count: Int

    package init(start: Int, count: Int) {
        self.start = start
        self.count = count
    }
}

/// A part of a message (RFC 3501 §6.4.5).
package struct Section: Sendable, Equatable {
    package enum Text: Sendable, Equatable {
        /// The whole message, or a part's body.
        case content
        case header
        case headerFields([[UInt8]])
        case headerFieldsNot([[UInt8]])
        case text
        case mime
    }

    /// Part numbers; empty for the message itself.
    package var part: [Int]
    package var text: Text

    package init(part: [Int] = [], text: Text = .content) {
        self.part = part
        self.text = text
    }
}
