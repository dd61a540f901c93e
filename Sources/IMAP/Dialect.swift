/// What the client has switched on with ENABLE (RFC 5161).
package struct Dialect: Sendable, Equatable {
    /// IMAP4rev2 (RFC 9051).
    package var isRev2 = false
    /// UTF8=ACCEPT (RFC 6855).
    package var acceptsUTF8 = false
    /// UIDONLY (RFC 9586): no message numbers.
    package var usesUIDsOnly = false

    package init() {}

    /// Whether mailbox names are in UTF-8, not in modified UTF-7.
    package var hasUTF8Names: Bool { isRev2 || acceptsUTF8 }
}
