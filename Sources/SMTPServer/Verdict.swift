import MailRules
import MilterClient
import Policy
import SMTP
import Submission

/// The reply to the end of a message, and what is logged.
struct Verdict {
    let code: ReplyCode
    let status: EnhancedStatusCode
    /// At least one.
    private let lines: [String]
    /// For the log.
    let reason: String
    /// The queue's ID of an accepted message; nil for any other.
    let id: String?

    private init(
        _ code: ReplyCode,
        _ status: EnhancedStatusCode,
        _ text: String,
        reason: String? = nil,
        id: String? = nil
    ) {
        self.id = id
        self.code = code
        self.status = status
        lines = [text]
        self.reason = reason ?? text
    }

    private init(_ reply: Reply, _ status: EnhancedStatusCode, reason: String) {
        id = nil
        code = reply.code
        self.status = status
        lines = reply.lines
        self.reason = reason
    }

    /// In one line.
    var text: String { lines.joined(separator: " ") }

    /// As the client gets it.
    var reply: Reply { Reply(code, status, lines: lines) }

    /// From what queue-manager says.
    init(_ result: SubmissionResult) {
        switch result {
        case .accepted(let id):
            self.init(.ok, .success, "queued as \(id)", id: id)
        case .refused(.messageTooLong, let text):
            self.init(.tooLarge, .messageTooBig, text.isEmpty ? "message too large" : text)
        case .refused(let status, let text):
            self.init(.transactionFailed, status, text.isEmpty ? "refused" : text)
        case .deferred(.systemFull, let reason):
            self.init(.insufficientStorage, .systemFull, "no room for the message, try again later", reason: reason)
        case .deferred(let status, let reason):
            self.init(.localError, status, "cannot queue the message now, try again later", reason: reason)
        }
    }

    /// From what was wrong with the message itself.
    init(_ fault: MessageIntake.Fault) {
        switch fault {
        case .bareLineEnd:
            self.init(.transactionFailed, .badMessage, "lines must end in CR LF, and neither may stand alone")
        case .tooLarge:
            self.init(.tooLarge, .messageTooBig, "message too large")
        case .tooManyHops:
            self.init(.transactionFailed, .routingLoop, "too many hops, this message is looping")
        case .lineTooLong:
            self.init(.transactionFailed, .badMessage, "line too long")
        case .noRoom:
            self.init(.insufficientStorage, .systemFull, "no room for the message, try again later")
        case .headerTooLong:
            self.init(.tooLarge, .messageTooBig, "the message's header is too long")
        }
    }

    /// To a recipient for which rules have another route than for those before.
    static let sendApart = Verdict(
        .insufficientStorage,
        .tooManyRecipients,
        "send to this recipient separately",
        reason: "it has another route than the recipients before"
    )

    /// To a client that isn't there any more.
    static let clientLeft = Verdict(
        .localError,
        .refusedForNow,
        "try again later",
        reason: "the client left while milters were at work"
    )

    /// To a user's message that names somebody else as its author.
    static func foreignAuthor(_ author: MailAddress, _ field: String) -> Verdict {
        let text = author.needsUTF8 ? "its address" : "<\(author)>"
        return Verdict(
            .mailboxUnavailable,
            .notAuthorized,
            "\(field): \(text) is not one of your addresses",
            reason: "\(field): <\(author)> is not the user's"
        )
    }

    /// To a user's message in which such a field has no address, or one that can't be read.
    static func unreadableAuthor(_ field: String) -> Verdict {
        Verdict(.transactionFailed, .badMessage, "\(field) has an address that can't be read")
    }

    /// To a user's message of whose author nobody knows now who it is.
    static func unknownAuthor(_ reason: String) -> Verdict {
        Verdict(
            .localError,
            .systemTrouble,
            "cannot look up your addresses now, try again later",
            reason: reason
        )
    }

    /// From a rule; nil where the message is taken.
    init?(_ action: PolicyAction) {
        switch action {
        case .accept, .junk, .discard, .hold, .addField, .route, .score, .greylist, .tarpit: return nil
        case .reject(let status, let text): self.init(.mailboxUnavailable, status, text)
        case .defer(let status, let text): self.init(.mailboxBusy, status, text)
        }
    }

    /// From a milter.
    init(_ verdict: MilterVerdict) {
        switch verdict.action {
        case .discard: self.init(.ok, .success, "ok", reason: "discarded by milter \(verdict.milter)")
        case .refuse(let reply), .disconnect(let reply):
            let cause = verdict.fault.map { "milter \(verdict.milter): \($0.text)" }
            let status = reply.status ?? EnhancedStatusCode(reply.code.isTransient ? 4 : 5, 7, 1)
            let text = reply.lines.joined(separator: " ")
            self.init(reply, status, reason: cause ?? "milter \(verdict.milter): \(text)")
        }
    }

    /// The reply to a message that is taken and thrown away.
    static let discarded = Verdict(.ok, .success, "ok", reason: "discarded by a rule")

    /// Whether the message is taken and thrown away.
    var isDiscarded: Bool { id == nil && !code.isTransient && !code.isPermanent }

    /// From what its authentication came to; nil where it is taken.
    init?(_ action: AuthenticationVerdict.Action) {
        switch action {
        case .accept, .acceptAsForwarded, .quarantine: return nil
        case .reject(let status, let text): self.init(.mailboxUnavailable, status, text)
        case .defer(let status, let text): self.init(.localError, status, text)
        }
    }
}
