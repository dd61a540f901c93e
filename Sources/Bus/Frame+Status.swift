import SMTP

extension Frame {
    /// A reply with an enhanced status code (RFC 3463) and a text for people.
    package static func reply(
        _ kind: ReplyKind,
        status: EnhancedStatusCode,
        text: String? = nil,
        tag: String? = nil,
        _ fields: [Field] = []
    ) -> Frame {
        reply(kind, status: status.description, text: text, tag: tag, fields)
    }

    /// The status of a reply; nil where there is none or it is malformed.
    package var status: EnhancedStatusCode? { self["status"].flatMap { EnhancedStatusCode(parsing: $0.utf8) } }
}
