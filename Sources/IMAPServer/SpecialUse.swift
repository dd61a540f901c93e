import Mailbox

/// Uses of mailboxes (RFC 6154), by the names that clients give them.
enum SpecialUse {
    private static let names: [String: String] = [
        "sent": "\\Sent", "sent messages": "\\Sent", "sent items": "\\Sent", "drafts": "\\Drafts", "trash": "\\Trash",
        "deleted messages": "\\Trash", "junk": "\\Junk", "spam": "\\Junk", "archive": "\\Archive",
    ]

    static func attribute(_ name: FolderName) -> String? {
        let text = name.description.lowercased()
        // Some clients keep all of theirs directly below INBOX.
        return names[name.parts.count == 2 && name.parts.first == "INBOX" ? String(text.dropFirst(6)) : text]
    }
}
