import MIME

/// A flag, an attribute or a keyword (RFC 3501 §2.3.2); equal in any case.
package struct Flag: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// As it was written, with the backslash of system flags.
    package let name: String

    package init(_ name: String) { self.name = name }

    package init(stringLiteral name: String) { self.name = name }

    package var description: String { name }

    package static let seen: Flag = "\\Seen"
    package static let answered: Flag = "\\Answered"
    package static let flagged: Flag = "\\Flagged"
    package static let deleted: Flag = "\\Deleted"
    package static let draft: Flag = "\\Draft"
    package static let recent: Flag = "\\Recent"
    /// In PERMANENTFLAGS: keywords may be made.
    package static let wildcard: Flag = "\\*"

    package var isSystem: Bool { name.utf8.first == ASCII.backslash }

    package static func == (one: Flag, other: Flag) -> Bool { ASCII.equal(one.name.utf8, other.name.utf8) }

    package func hash(into hasher: inout Hasher) {
        for octet in name.utf8 { hasher.combine(ASCII.lower(octet)) }
    }
}
