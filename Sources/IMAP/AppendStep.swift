import MIME

/// APPEND (RFC 3501 §6.3.12) and REPLACE (RFC 8508), step by step: their messages are streamed. `begin` comes first; then for
/// each message `message`, its content in one or more pieces, and `endOfMessage`; `end` at last.
package enum AppendStep: Sendable, Equatable {
    case begin(MailboxName, replacing: ReplacedMessage?)
    case message(AppendedMessage)
    /// Octets of the message follow, after a continuation where it's synchronising. They are the caller's to take from the
    /// buffer.
    case literal(MessageLiteral)
    /// Content that the server has already (RFC 4469): an IMAP URL (RFC 5092).
    case url([UInt8])
    case endOfMessage
    case end
}

/// Which message of the selected mailbox REPLACE replaces.
package struct ReplacedMessage: Sendable, Equatable {
    package var number: SequenceSet.Number
    package var byUID: Bool

    package init(_ number: SequenceSet.Number, byUID: Bool) {
        self.number = number
        self.byUID = byUID
    }
}

/// What a message that is added has beside its content.
package struct AppendedMessage: Sendable, Equatable {
    package var flags: [Flag]
    package var date: DateTime?
    /// Whether it's put together of pieces (RFC 4469).
    package var isCatenated: Bool

    package init(flags: [Flag] = [], date: DateTime? = nil, isCatenated: Bool = false) {
        self.flags = flags
        self.date = date
        self.isCatenated = isCatenated
    }
}

/// The head of a literal.
package struct MessageLiteral: Sendable, Equatable {
    /// Octets.
    package var size: Int
    /// Whether the client waits for a continuation before it sends them.
    package var isSynchronizing: Bool
    /// `~{n}` (RFC 3516): any octets, also NUL.
    package var isBinary: Bool

    package init(size: Int, isSynchronizing: Bool, isBinary: Bool = false) {
        self.size = size
        self.isSynchronizing = isSynchronizing
        self.isBinary = isBinary
    }
}
