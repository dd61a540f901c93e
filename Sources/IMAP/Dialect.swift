/// What the client has switched on, with ENABLE (RFC 5161) for the most part.
package struct Dialect: Sendable, Equatable {
    /// IMAP4rev2 (RFC 9051).
    package var isRev2 = false
    /// UTF8=ACCEPT (RFC 6855).
    package var acceptsUTF8 = false
    /// UIDONLY (RFC 9586): no message numbers.
    package var usesUIDsOnly = false

    /// CONDSTORE (RFC 7162 §3.1), or a command that asks for modification sequences.
    package var tellsModSequences = false
    /// QRESYNC (RFC 7162 §3.2): VANISHED in place of EXPUNGE.
    package var usesQResync = false

    package init() {}

    /// Whether removals are told by UID.
    package var tellsVanished: Bool { usesUIDsOnly || usesQResync }

    /// Whether mailbox names are in UTF-8, not in modified UTF-7.
    package var hasUTF8Names: Bool { isRev2 || acceptsUTF8 }
}
