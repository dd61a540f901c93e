import IMAP
import MIME

/// The header fields that clients show in lists of messages, sort by and ask for: they are kept in the index.
enum CommonFields {
    private static let names = Set(
        [
            "bcc", "cc", "content-type", "date", "disposition-notification-to", "from", "importance", "in-reply-to",
            "list-id", "list-post", "list-unsubscribe", "message-id", "mime-version", "newsgroups", "priority",
            "references", "reply-to", "return-path", "sender", "subject", "to", "user-agent", "x-mailer", "x-priority",
        ].map { Array($0.utf8) }
    )

    /// Those fields of a header, as they stand there, with the empty line.
    static func of(_ header: HeaderBlock) -> [UInt8] {
        MessageContent.fields(header) { names.contains($0.map(ASCII.lower)) }
    }

    /// Whether all fields of these names are among them.
    static func cover(_ wanted: [[UInt8]]) -> Bool { wanted.allSatisfy { names.contains($0.map(ASCII.lower)) } }
}
