/// The name of a folder as IMAP writes it: parts joined by the store's delimiter, in modified UTF-7 (RFC 3501 §5.1.3), `INBOX`
/// first of all.
///
/// A Maildir keeps the same octets on disk, so no name is ever converted.
package struct FolderName: Hashable, Sendable, CustomStringConvertible {
    /// What stands between the parts in most stores: those whose folders are Maildir++, or that have none.
    package static let delimiter = UInt8(ascii: ".")
    package static let inbox = FolderName(checked: "INBOX", delimiter: delimiter)

    package let description: String
    /// What stands between the parts.
    package let delimiter: UInt8

    private init(checked: String, delimiter: UInt8) {
        description = checked
        self.delimiter = delimiter
    }

    /// Nil where a folder may not have that name: empty parts, anything but printable ASCII, the wildcards, more than 250 octets,
    /// and what can't be a directory's name. `INBOX` is recognised in any case, also as the first of several parts.
    ///
    /// - Parameter delimiter: the store's: `.` for directories `.Work.Reports` (Maildir++), `/` for directories in each other.
    package init?(_ text: String, delimiter: UInt8 = FolderName.delimiter) {
        let octets = text.utf8
        guard (1...250).contains(octets.count) else { return nil }
        for octet in octets {
            guard (0x20...0x7E).contains(octet), !Self.wildcards.contains(octet) else { return nil }
        }
        let parts = octets.split(separator: delimiter, omittingEmptySubsequences: false)
        for part in parts where part.isEmpty || part.contains(Self.slash) { return nil }
        if delimiter == Self.slash, parts.contains(where: { Self.isReserved(Substring($0)) }) { return nil }
        self.delimiter = delimiter
        if let first = parts.first, first.elementsEqual("INBOX".utf8, by: { $0 & 0xDF == $1 }) {
            description = Self.inbox.description + text.dropFirst(5)
        } else {
            description = text
        }
    }

    private static let wildcards: Set<UInt8> = [UInt8(ascii: "*"), UInt8(ascii: "%")]
    private static let slash = UInt8(ascii: "/")

    /// Whether a directory inside of a folder's can't be another folder: the names of what a Maildir itself has.
    private static func isReserved(_ part: Substring) -> Bool {
        switch part {
        case ".", "..", "cur", "new", "tmp", "subscriptions", "maildirfolder", "maildirsize": true
        default: part.hasPrefix("dovecot") || part.hasPrefix("martlet-")
        }
    }

    /// A name by its parts; nil where one of them is none.
    init?(parts: some Collection<some Collection<UInt8>>, delimiter: UInt8) {
        for part in parts where part.contains(delimiter) { return nil }
        self.init(
            parts.map { String(decoding: $0, as: UTF8.self) }.joined(separator: Self.text(delimiter)),
            delimiter: delimiter
        )
    }

    private static func text(_ delimiter: UInt8) -> String { String(UnicodeScalar(delimiter)) }

    package static func == (left: FolderName, right: FolderName) -> Bool { left.description == right.description }

    package func hash(into hasher: inout Hasher) { hasher.combine(description) }

    /// From the top.
    package var parts: [Substring] { description.split(separator: Character(UnicodeScalar(delimiter))) }

    package var isInbox: Bool { self == .inbox }

    /// The directory below the Maildir's root.
    var directory: String { isInbox ? "." : delimiter == Self.slash ? description : ".\(description)" }

    /// The folder that a directory of the root is in Maildir++; nil where it is none.
    init?(directory: String) {
        // A directory that another name leads to is none: a second `inbox`.
        guard directory.utf8.first == UInt8(ascii: "."), let name = FolderName(String(directory.dropFirst())),
            !name.isInbox, name.directory == directory
        else { return nil }
        self = name
    }

    /// The names above this one, the nearest last.
    package var ancestors: [FolderName] {
        var parts = parts
        var found: [FolderName] = []
        while parts.count > 1 {
            parts.removeLast()
            let text = parts.joined(separator: Self.text(delimiter))
            found.append(FolderName(checked: text, delimiter: delimiter))
        }
        return found.reversed()
    }

    /// Whether this folder lies somewhere below the other one.
    package func isBelow(_ other: FolderName) -> Bool {
        description.hasPrefix(other.description + Self.text(delimiter))
    }

    /// The name when the folder above it (or itself) is renamed; nil where that gives no valid name.
    func replacing(_ old: FolderName, by new: FolderName) -> FolderName? {
        FolderName(new.description + description.dropFirst(old.description.count), delimiter: delimiter)
    }
}

/// A folder as LIST shows it.
package struct FolderEntry: Hashable, Sendable {
    package let name: FolderName
    /// False for a name that only has folders below it.
    package let isSelectable: Bool
    package let hasChildren: Bool
}
