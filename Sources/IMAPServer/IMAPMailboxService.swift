import Accounts
import Front
import Logging
import Mailbox
import MailboxProcess
import NIOCore
import Network

/// A user's folders, and where they are.
package struct UserMailbox: Sendable {
    let location: MailboxLocation
    let store: any MailStore
    /// The same, where folders of others are among them.
    var united: NamespaceStore?
}

/// imapd after login.
package struct IMAPMailboxService: MailboxService {
    private let settings: MailboxSettings
    private let pool: BlockingPool
    private let watcher = FolderWatcher()
    private let indexes: MessageIndexes?
    private let indexer: TextIndexer?
    private let counters = MailboxCounters()
    private let sortMemory: MemoryBudget
    private let accounts: PerLoop<AccountsClient>
    private let logger: Logger

    /// - Parameters:
    ///   - pool: runs what waits for the disk.
    ///   - group: has a loop for work that nobody waits for.
    package init(settings: MailboxSettings, pool: BlockingPool, group: any EventLoopGroup, logger: Logger) {
        self.settings = settings
        self.pool = pool
        self.logger = logger
        accounts = PerLoop { AccountsClient(path: settings.authoritySocket, on: $0) }
        sortMemory = MemoryBudget(settings.sortMemory)
        indexes = settings.keepsIndex ? MessageIndexes(logger: logger) : nil
        indexer =
            settings.keepsIndex && settings.indexesText
            ? TextIndexer(pool: pool, loop: group.next(), logger: logger) : nil
    }

    package func open(
        _ store: any MailStore,
        at location: MailboxLocation,
        of address: String,
        in directory: MailDirectory
    ) throws(MailboxError) -> UserMailbox {
        guard !settings.namespaces.isEmpty else { return UserMailbox(location: location, store: store) }
        let united = try NamespaceStore(
            store,
            at: location,
            of: address,
            names: settings.namespaces,
            publicLocation: settings.publicFolders,
            in: directory
        )
        return UserMailbox(location: location, store: united, united: united)
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
            address: arrival.mailbox.address,
            accounts: accounts[connection.eventLoop],
            settings: settings,
            disk: pool.line(mailbox.location.path),
            watcher: watcher,
            indexes: indexes,
            indexer: indexer,
            counters: counters,
            sortMemory: sortMemory,
            mark: arrival.mark,
            logger: logger
        ).run()
    }

    /// Ends the thread that watches folders, and what goes on behind sessions.
    package func end() {
        watcher?.stop()
        indexer?.close()
    }
}
