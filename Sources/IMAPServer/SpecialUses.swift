import Mailbox

/// Uses of mailboxes (RFC 6154): those that clients have given them, and where a use was given to none, the mailbox that has the
/// name which clients give to one of that use.
struct SpecialUses: Sendable {
    /// Those that a client may give (RFC 6154 §2); `\All` and `\Flagged` are views that this server hasn't.
    static let all = ["\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"]

    private let given: [FolderName: [String]]
    private let taken: Set<String>

    init(_ given: [FolderName: [String]]) {
        self.given = given
        taken = Set(given.values.joined())
    }

    func uses(of name: FolderName) -> [String] {
        if let own = given[name], !own.isEmpty { return own }
        guard let use = Self.attribute(name), !taken.contains(use) else { return [] }
        return [use]
    }

    private static let names: [String: String] = [
        "sent": "\\Sent", "sent messages": "\\Sent", "sent items": "\\Sent", "drafts": "\\Drafts", "trash": "\\Trash",
        "deleted messages": "\\Trash", "junk": "\\Junk", "spam": "\\Junk", "archive": "\\Archive",
    ]

    private static func attribute(_ name: FolderName) -> String? {
        let text = name.description.lowercased()
        // Directly below INBOX they are where some clients keep all of theirs.
        return names[name.parts.count == 2 && text.hasPrefix("inbox") ? String(text.dropFirst(6)) : text]
    }
}
