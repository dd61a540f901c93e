import SMTP

/// A reply's verb.
package enum ReplyKind: String, Sendable {
    case ok = "OK"
    /// Try again later.
    case `defer` = "DEFER"
    /// Final.
    case reject = "REJECT"
}

extension Frame {
    /// A reply with an enhanced status code (RFC 3463) and a text for people.
    package static func reply(
        _ kind: ReplyKind,
        status: String,
        text: String? = nil,
        tag: String? = nil,
        _ fields: [Field] = []
    ) -> Frame {
        var frame = Frame(kind.rawValue)
        if let tag { frame.fields.append(Field("tag", tag)) }
        frame.fields.append(Field("status", status))
        frame.fields += fields
        if let text { frame.fields.append(Field("text", text)) }
        return frame
    }

    /// `OK` with 2.0.0.
    package static func ok(tag: String? = nil, _ fields: [Field] = []) -> Frame {
        reply(.ok, status: .success, tag: tag, fields)
    }

    /// What kind of reply this is; nil for a request or an unknown verb.
    package var replyKind: ReplyKind? { ReplyKind(rawValue: verb) }
}

/// Why a request to another daemon has no usable answer.
package enum BusError: Error, Equatable {
    /// Nobody listens on the socket, or the connection broke before the answer: the other daemon is down.
    case unavailable(String)
    /// No answer within the time allowed.
    case timedOut
    /// The answer is not a frame, or not a reply.
    case malformed(String)
}
