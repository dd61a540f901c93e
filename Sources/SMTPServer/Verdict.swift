import Bus
import SMTP

/// What the client is told about a message at its end, and what the log is.
struct Verdict {
    let code: ReplyCode
    let status: EnhancedStatusCode
    let text: String
    /// For the log.
    let reason: String

    private init(_ code: ReplyCode, _ status: EnhancedStatusCode, _ text: String, reason: String? = nil) {
        self.code = code
        self.status = status
        self.text = text
        self.reason = reason ?? text
    }

    /// From queue-manager's reply.
    init(_ frame: Frame) {
        let status = frame["status"].flatMap { EnhancedStatusCode(parsing: $0.utf8) }
        let text = frame["text"] ?? "refused"
        switch frame.replyKind {
        case .ok:
            self.init(.ok, .success, "queued as \(frame["id"] ?? "")")
        case .reject where status == EnhancedStatusCode(5, 2, 3):
            self.init(.tooLarge, .messageTooBig, text)
        case .reject:
            self.init(.transactionFailed, status.flatMap { $0.statusClass == 5 ? $0 : nil } ?? .badMessage, text)
        case .defer where status == .systemFull:
            self.init(.insufficientStorage, .systemFull, "no room for the message, try again later", reason: text)
        default:
            let status = status.flatMap { $0.statusClass == 4 ? $0 : nil } ?? .systemTrouble
            self.init(.localError, status, "cannot queue the message now, try again later", reason: text)
        }
    }

    /// From what was wrong with the message before queue-manager could say anything.
    init(_ fault: MessageIntake.Fault?) {
        switch fault {
        case .bareLineEnd:
            self.init(.transactionFailed, .badMessage, "lines must end in CR LF, and neither may stand alone")
        case .tooLarge:
            self.init(.tooLarge, .messageTooBig, "message too large")
        case .tooManyHops:
            self.init(.transactionFailed, .routingLoop, "too many hops, this message is looping")
        case .lineTooLong:
            self.init(.transactionFailed, .badMessage, "line too long")
        case .queueLost(let reason):
            self.init(.localError, .systemTrouble, "cannot queue the message now, try again later", reason: reason)
        case nil:
            self.init(.localError, .systemTrouble, "cannot queue the message now, try again later", reason: "no reply")
        }
    }
}
