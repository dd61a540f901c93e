import Front
import Mailbox
import Network

/// What POP3 and IMAP do differently with a mailbox after the login.
package protocol MailboxService: Sendable {
    /// A mailbox as a session uses it.
    associatedtype OpenMailbox: Sendable

    /// Opens a user's folders as a session uses them. Runs on a thread that may wait for the disk.
    ///
    /// - Parameters:
    ///   - address: the user's.
    ///   - directory: where all mail is.
    func open(
        _ store: any MailStore,
        at location: MailboxLocation,
        of address: String,
        in directory: MailDirectory
    ) throws(MailboxError) -> OpenMailbox

    /// Serves one session: accepts the arrival, then answers commands. The connection is closed when it returns.
    func serve(_ connection: Connection, _ mailbox: OpenMailbox, for arrival: LoginArrival) async

    /// Is told when the last session is over.
    func end()
}

extension MailboxService {
    package func end() {}
}
