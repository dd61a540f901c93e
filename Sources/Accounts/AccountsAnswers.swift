/// The services that authd gives logins for.
package enum LoginService: String, Sendable {
    case smtp
    case pop3
    case imap
}

/// A login whose password was right.
package struct VerifiedLogin: Equatable, Sendable {
    /// The address that the user is known by.
    package let address: String
    /// Good for one `redeem` within 30 seconds; nil for smtp, which needs no mailbox.
    package let ticket: String?
}

/// A SCRAM login between the client's two messages.
package struct ScramChallenge: Equatable, Sendable {
    /// authd's name for it.
    let exchange: String
    /// What the client is told.
    package let challenge: [UInt8]
    /// The user that the client claims to be, for logs.
    package let user: String
    let service: LoginService
}

/// Where the mail of one address is.
package struct AccountMailbox: Equatable, Sendable {
    package let address: String
    /// Below the mail directory.
    package let mailbox: String
    /// `maildir` or `mbox`.
    package let format: String
    /// Octets; 0 for none.
    package let quota: Int
}

/// Whether a recipient is ours.
package enum RecipientOwner: Equatable, Sendable {
    /// A local mailbox or alias.
    case local
    /// An address that a sender was given when its mail was forwarded: only reports come back to it.
    case returnPath
    /// A domain that is not ours.
    case foreign
}

/// What an address of ours leads to.
package enum Expansion: Equatable, Sendable {
    /// A mailbox; the extension is what stood behind `+`.
    case mailbox(AccountMailbox, extension: String?)
    /// The addresses of an alias, without brackets, and whom failures are reported to instead of the sender, if there is somebody.
    case forward([String], owner: String? = nil)
}
