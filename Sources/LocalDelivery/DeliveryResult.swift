import Bus
import Mailbox

/// What became of one recipient.
struct DeliveryResult: Sendable, Equatable {
    var kind: ReplyKind
    var status: String
    var text: String
    /// How many addresses an alias led to.
    var expanded: Int?

    static func delivered(_ text: String) -> DeliveryResult {
        DeliveryResult(kind: .ok, status: "2.0.0", text: text)
    }

    static func later(_ status: String, _ text: String) -> DeliveryResult {
        DeliveryResult(kind: .defer, status: status, text: text)
    }

    static func never(_ status: String, _ text: String) -> DeliveryResult {
        DeliveryResult(kind: .reject, status: status, text: text)
    }

    /// What a failure on disk means for the message: nothing here is the message's fault, so it waits.
    init(_ error: MailboxError) {
        switch error {
        case .overQuota: self = .later("4.2.2", "the mailbox is full")
        case .noSpace: self = .later("4.3.1", "no space left for mailboxes")
        case .locked: self = .later("4.2.0", "the mailbox is locked")
        default: self = .later("4.3.0", "the mailbox cannot be written: \(error)")
        }
    }

    private init(kind: ReplyKind, status: String, text: String) {
        self.kind = kind
        self.status = status
        self.text = text
    }
}
