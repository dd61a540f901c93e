/// The name of a folder as IMAP writes it: parts joined by `.`, in modified UTF-7 (RFC 3501 §5.1.3), `INBOX` first of all.
///
/// Maildir++ keeps the same octets on disk behind a `.`, so no name is ever converted.
package struct FolderName: Hashable, Sendable, CustomStringConvertible {
    /// What stands between the parts.
    package static let delimiter = UInt8(ascii: ".")
    package static let inbox = FolderName(checked: "INBOX")

    package let description: String

    private init(checked: String) { description = checked }

    /// Nil where a folder may not have that name: empty parts, anything but printable ASCII, `/`, the wildcards, more than 250 octets.
    /// `INBOX` is recognised in any case, also as the first of several parts.
    package init?(_ text: String) {
        let octets = text.utf8
        guard (1...250).contains(octets.count) else { return nil }
        for octet in octets {
            guard (0x20...0x7E).contains(octet), !Self.refused.contains(octet) else { return nil }
        }
        let parts = octets.split(separator: Self.delimiter, omittingEmptySubsequences: false)
        guard parts.allSatisfy({ !$0.isEmpty }) else { return nil }
        if let first = parts.first, first.elementsEqual("INBOX".utf8, by: { $0 & 0xDF == $1 }) {
            description = Self.inbox.description + text.dropFirst(5)
        } else {
            description = text
        }
    }

    /// A name by its parts; nil where one of them is none.
    init?(parts: some Collection<some Collection<UInt8>>) {
        for part in parts where part.contains(Self.delimiter) { return nil }
        self.init(parts.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "."))
    }

    var parts: [Substring] { description.split(separator: ".") }

    private static let refused: Set<UInt8> = [UInt8(ascii: "/"), UInt8(ascii: "*"), UInt8(ascii: "%")]

    package var isInbox: Bool { self == .inbox }

    /// The directory below the Maildir's root.
    var directory: String { isInbox ? "." : ".\(description)" }

    /// The folder that a directory of the root is; nil where it is none.
    init?(directory: String) {
        // A directory that another name leads to is none: a second `inbox`.
        guard directory.utf8.first == UInt8(ascii: "."), let name = FolderName(String(directory.dropFirst())),
            !name.isInbox, name.directory == directory
        else { return nil }
        self = name
    }

    /// The names above this one, the nearest last.
    var ancestors: [FolderName] {
        var parts = parts
        var found: [FolderName] = []
        while parts.count > 1 {
            parts.removeLast()
            found.append(FolderName(checked: parts.joined(separator: ".")))
        }
        return found.reversed()
    }

    /// Whether this folder lies somewhere below the other one.
    package func isBelow(_ other: FolderName) -> Bool { description.hasPrefix(other.description + ".") }

    /// The name when the folder above it (or itself) is renamed; nil where that gives no valid name.
    func replacing(_ old: FolderName, by new: FolderName) -> FolderName? {
        FolderName(new.description + description.dropFirst(old.description.count))
    }
}

/// A folder as LIST shows it.
package struct FolderEntry: Hashable, Sendable {
    package let name: FolderName
    /// False for a name that only has folders below it.
    package let isSelectable: Bool
    package let hasChildren: Bool
}
