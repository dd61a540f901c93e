import IMAP
import Mailbox

extension MailboxSession {
    /// The one quota root: all folders of the account together. Dovecot's name for it, which people know.
    private static let quotaRoot = Array("User quota".utf8)

    /// GETQUOTA (RFC 9208 §4.1.1).
    func quota(_ root: [UInt8]) async throws {
        guard location.quota > 0, root == Self.quotaRoot else {
            throw Refusal(code: .nonexistent, text: "no such quota root")
        }
        let store = store
        let usage = try await onDisk { () throws(MailboxError) in try store.usage() }
        // Part of a unit counts as one.
        let used = (usage.octets + 1023) / 1024
        respond { $0.quota(root, storage: used, limit: location.quota / 1024) }
    }

    /// GETQUOTAROOT (RFC 9208 §4.1.2); without a limit there is no root.
    func quotaRoot(_ name: MailboxName) async throws {
        let path = try await folderName(name)
        // What another has room for is his own affair.
        let hasLimit = location.quota > 0 && store.isPersonal(path)
        respond { $0.quotaRoots(name, hasLimit ? [Self.quotaRoot] : []) }
        if hasLimit { try await quota(Self.quotaRoot) }
    }
}
