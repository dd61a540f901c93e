import Accounts
import Mailbox
import SMTP

extension DeliveryResult {
    /// What a failure on disk means for the message: nothing here is the message's fault, so it waits.
    init(_ error: MailboxError) {
        switch error {
        case .overQuota: self.init(.delayed, .mailboxFull, "the mailbox is full")
        case .noSpace: self.init(.delayed, .systemFull, "no space left for mailboxes")
        case .busy, .locked: self.init(.delayed, .mailboxBusy, "the mailbox is in use by another program")
        case .uncertain:
            self.init(.delayed, .systemTrouble, "the mailbox was written, but the disk failed: \(error)")
            isUncertain = true
        case .notFound, .vanished, .exists, .invalidName, .noPermission, .unsupported, .corrupt, .system:
            self.init(.delayed, .systemTrouble, "the mailbox cannot be written: \(error)")
        }
    }

    /// What it means for a recipient that authd did not expand the address.
    init(_ error: AccountsError) {
        switch error {
        case .refused(let status, let text): self.init(.failed, status, text)
        case .deferred(let status, let text): self.init(.delayed, status, text)
        case .unavailable(let reason): self.init(.delayed, .systemTrouble, reason)
        }
    }
}

extension EnhancedStatusCode {
    /// 4.2.0: another program has the mailbox for itself.
    static let mailboxBusy = EnhancedStatusCode(4, 2, 0)
}
