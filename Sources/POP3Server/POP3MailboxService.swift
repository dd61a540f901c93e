import Accounts
import CoreMetrics
import Front
import Logging
import Mailbox
import MailboxProcess
import Network

/// pop3d after login: a locked maildrop for each session.
package struct POP3MailboxService: MailboxService {
    let settings: MailboxSettings
    private let pool: BlockingPool
    let logger: Logger
    let messagesRead = Counter(label: "messages-read")
    let messagesDeleted = Counter(label: "messages-deleted")

    /// - Parameter pool: runs what waits for the disk.
    package init(settings: MailboxSettings, pool: BlockingPool, logger: Logger) {
        self.settings = settings
        self.pool = pool
        self.logger = logger
    }

    package func open(
        _ store: any MailStore,
        at location: MailboxLocation,
        of address: String,
        in directory: MailDirectory
    ) throws(MailboxError) -> Maildrop {
        try Maildrop(store)
    }

    package func serve(_ connection: Connection, _ mailbox: Maildrop, for arrival: LoginArrival) async {
        let disk = pool.line(arrival.mailbox.mailbox)
        await MailboxSession(connection, mailbox, service: self, disk: disk, arrival: arrival).run()
    }
}
