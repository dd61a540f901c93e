/// What somebody may do with a folder (RFC 4314 §2.1).
package struct MailboxRights: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// It's listed.
    package static let lookUp = MailboxRights(rawValue: 1)
    package static let read = MailboxRights(rawValue: 2)
    /// Changes of \Seen.
    package static let seen = MailboxRights(rawValue: 4)
    /// Changes of all other flags but \Deleted.
    package static let write = MailboxRights(rawValue: 8)
    package static let insert = MailboxRights(rawValue: 16)
    package static let post = MailboxRights(rawValue: 32)
    /// Folders below it.
    package static let create = MailboxRights(rawValue: 64)
    package static let deleteFolder = MailboxRights(rawValue: 128)
    /// Changes of \Deleted.
    package static let deleteMessages = MailboxRights(rawValue: 256)
    package static let expunge = MailboxRights(rawValue: 512)
    package static let administer = MailboxRights(rawValue: 1024)

    package static let all = MailboxRights(rawValue: 2047)

    /// In the order of RFC 4314.
    package static let letters: [(letter: UInt8, right: MailboxRights)] = [
        (UInt8(ascii: "l"), .lookUp), (UInt8(ascii: "r"), .read), (UInt8(ascii: "s"), .seen),
        (UInt8(ascii: "w"), .write),
        (UInt8(ascii: "i"), .insert), (UInt8(ascii: "p"), .post), (UInt8(ascii: "k"), .create),
        (UInt8(ascii: "x"), .deleteFolder), (UInt8(ascii: "t"), .deleteMessages), (UInt8(ascii: "e"), .expunge),
        (UInt8(ascii: "a"), .administer),
    ]

    /// Any of these lets MYRIGHTS be answered (RFC 4314 §4).
    package static let any: MailboxRights = [.lookUp, .read, .insert, .create, .deleteFolder, .administer]
    /// One of these, beside `lookUp`, lets annotations be read and written (RFC 5464 §3.3).
    static let annotations: MailboxRights = [.read, .seen, .write, .insert, .post]
    /// Without all of these a folder is read alone (RFC 4314 §5.2).
    package static let changes: MailboxRights = [.insert, .expunge, .seen, .write, .deleteMessages]

    /// Nil for a letter that is none.
    package init?(letter: UInt8) {
        guard let right = Self.letters.first(where: { $0.letter == letter })?.right else { return nil }
        self = right
    }

    package var text: String {
        String(decoding: Self.letters.filter { contains($0.right) }.map(\.letter), as: UTF8.self)
    }

    /// The flags that somebody with these rights may change.
    package var flags: MessageFlags {
        var flags: MessageFlags = []
        if contains(.seen) { flags.insert(.seen) }
        if contains(.deleteMessages) { flags.insert(.deleted) }
        if contains(.write) { flags.formUnion([.draft, .flagged, .passed, .answered]) }
        return flags
    }
}
