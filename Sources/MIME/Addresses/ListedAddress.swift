/// One entry of an address list, as the ENVELOPE of IMAP wants it (RFC 3501 §7.4.2).
package struct ListedAddress: Sendable, Equatable {
    /// The display name; encoded words are left as they are.
    package var name: [UInt8]?
    /// The source route (RFC 5322 §4.4).
    package var route: [UInt8]?
    /// The local part as it is meant, without quotes; nil where a domain has none before it. The group's name where `host`
    /// is nil; nil at a group's end.
    package var mailbox: [UInt8]?
    /// Empty where the entry names no address: its text is then `mailbox`, if it's one word that a host may know a user
    /// by, or else `name`.
    package var host: [UInt8]?

    package init(name: [UInt8]?, route: [UInt8]? = nil, mailbox: [UInt8]?, host: [UInt8]?) {
        self.name = name
        self.route = route
        self.mailbox = mailbox
        self.host = host
    }
}
