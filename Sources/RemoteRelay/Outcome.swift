import Bus
import SMTP

/// What became of one recipient in one attempt.
struct Outcome: Sendable, Equatable {
    var kind: ReplyKind
    var status: EnhancedStatusCode
    var text: String
    /// The other host: `mx.example.net [192.0.2.25]:25`.
    var remote: String?
    /// The other host's own words.
    var diagnostic: String?

    static func later(_ status: EnhancedStatusCode, _ text: String, remote: String? = nil) -> Outcome {
        Outcome(kind: .defer, status: status, text: text, remote: remote)
    }

    static func never(_ status: EnhancedStatusCode, _ text: String, remote: String? = nil) -> Outcome {
        Outcome(kind: .reject, status: status, text: text, remote: remote)
    }

    /// Nobody waits for the result any more: it's not told, and queue-manager asks again.
    static let interrupted = later(.notAccepting, "interrupted")

    /// What is kept of a host's words. Octets.
    private static let maximumWords = 1000

    /// What a host's reply means for a recipient. Its enhanced code counts where it has one (RFC 2034).
    init(_ reply: Reply, from remote: String, after command: String) {
        // A reply may have 64 KiB, for each of a thousand recipients.
        let words = String(decoding: reply.description.utf8.prefix(Self.maximumWords), as: UTF8.self)
        self.remote = remote
        diagnostic = words
        switch reply.code.value {
        case 200..<300:
            kind = .ok
            status = .success
            text = "accepted"
        case 500..<600:
            kind = .reject
            status = reply.status ?? EnhancedStatusCode(5, 0, 0)
            text = "\(remote) refused \(command): \(words)"
        default:
            kind = .defer
            status = reply.status.flatMap { $0.statusClass == 4 ? $0 : nil } ?? EnhancedStatusCode(4, 0, 0)
            text = "\(remote) put off \(command): \(words)"
        }
    }

    private init(kind: ReplyKind, status: EnhancedStatusCode, text: String, remote: String?) {
        self.kind = kind
        self.status = status
        self.text = text
        self.remote = remote
    }
}
