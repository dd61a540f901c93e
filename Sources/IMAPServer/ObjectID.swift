import MIME
import Mailbox

/// Identifiers that stay (RFC 8474).
enum ObjectID {
    /// Of a mailbox.
    static func mailbox(_ folder: any MailFolder) -> String { "F" + folder.objectIdentifier }

    /// Of a message's content.
    ///
    /// - Throws: `notFound` when the message is gone.
    static func email(_ uid: UInt32, in folder: any MailFolder) throws(MailboxError) -> String {
        guard let identifier = folder.contentIdentifier(of: uid) else { throw .notFound }
        return "M" + identifier
    }

    static let threadFields = ["references", "in-reply-to", "message-id"].map { Array($0.utf8) }

    /// Of a message's thread: that of the message which has begun it, by References, or else by In-Reply-To. It says nothing that the
    /// message itself doesn't, so it never changes.
    static func thread(
        _ header: HeaderBlock,
        _ uid: UInt32,
        in folder: any MailFolder
    ) throws(MailboxError) -> String {
        let first = HeaderValues.ancestors(header).first ?? HeaderValues.identifier(header)
        guard let first else { return "T" + (try email(uid, in: folder)) }
        return "T" + EntryDigest(first).text
    }
}
