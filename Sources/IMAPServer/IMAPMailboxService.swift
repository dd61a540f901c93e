import Front
import Logging
import Mailbox
import MailboxProcess
import Network

/// A user's folders, and where they are.
package struct UserMailbox: Sendable {
    let location: MailboxLocation
    let store: any MailStore
}

/// imapd after login.
package struct IMAPMailboxService: MailboxService {
    private let settings: MailboxSettings
    private let pool: BlockingPool
    private let watcher = FolderWatcher()
    private let counters = MailboxCounters()
    private let logger: Logger

    /// - Parameter pool: runs what waits for the disk.
    package init(settings: MailboxSettings, pool: BlockingPool, logger: Logger) {
        self.settings = settings
        self.pool = pool
        self.logger = logger
    }

    package func open(_ store: any MailStore, at location: MailboxLocation) throws(MailboxError) -> UserMailbox {
        UserMailbox(location: location, store: store)
    }

    package func serve(_ connection: Connection, _ mailbox: UserMailbox, for arrival: LoginArrival) async {
        do throws(ConnectionError) {
            try await arrival.accept(on: connection)
        } catch {
            return
        }
        await MailboxSession(
            connection,
            mailbox,
            settings: settings,
            disk: pool.line(mailbox.location.path),
            watcher: watcher,
            counters: counters,
            logger: logger
        ).run()
    }

    /// Ends the thread that watches folders.
    package func end() { watcher?.stop() }
}
