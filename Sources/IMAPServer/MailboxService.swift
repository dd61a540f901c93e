import CoreMetrics
import Accounts
import Bus
import IMAP
import Logging
import Login
import Mailbox
import NIOCore
import NIOPosix
import Network

/// The mailbox process's work: redeems tickets and runs a session for each.
package final class MailboxService: Sendable {
    private let settings: MailboxSettings
    private let mail: MailDirectory
    private let server: BusServer
    private let accounts: [ObjectIdentifier: AccountsClient]
    private let disk: Disk
    private let watcher: FolderWatcher?
    private let counters = MailboxCounters()
    private let logger: Logger

    /// - Parameter allowed: the uids of fronts.
    package init(
        settings: MailboxSettings,
        mail: MailDirectory,
        allowed: Set<UInt32>,
        connections: Int,
        group: any EventLoopGroup,
        logger: Logger
    ) {
        self.settings = settings
        self.mail = mail
        self.logger = logger
        server = BusServer(group: group, allowed: allowed, connections: connections, logger: logger)
        disk = Disk(threads: settings.diskThreads)
        watcher = FolderWatcher()
        var accounts: [ObjectIdentifier: AccountsClient] = [:]
        for loop in group.makeIterator() {
            accounts[ObjectIdentifier(loop)] = AccountsClient(path: settings.authoritySocket, on: loop)
        }
        self.accounts = accounts
    }

    /// Starts to accept fronts; the socket belongs to the service from now on.
    package func start(on socket: CInt) async throws {
        try await server.accept(on: socket) { await self.serve($0) }
    }

    private func serve(_ connection: Connection) async {
        connection.idleTimeout = .seconds(30)
        guard let accounts = accounts[ObjectIdentifier(connection.eventLoop)],
            let arrival = await LoginArrival.receive(on: connection, service: .imap, accounts: accounts)
        else { return counters.sessionsRefused.increment() }
        let account = arrival.mailbox
        let format = MailboxFormat(rawValue: account.format) ?? .maildir
        guard let location = MailboxLocation(path: account.mailbox, format: format, quota: account.quota) else {
            logger.error("authd gave no usable mailbox", metadata: ["mailbox": "\(account.mailbox)"])
            return await refuse(connection, .reject, status: "5.2.0", text: "no usable mailbox")
        }
        let store: any MailStore
        do throws(MailboxError) {
            let mail = mail
            store = try await disk.run { () throws(MailboxError) in try mail.open(location) }
        } catch {
            logger.error("mailbox not opened", metadata: ["user": "\(account.address)", "reason": "\(error)"])
            return await refuse(connection, .defer, status: "4.2.0", text: "the mailbox can't be opened now")
        }
        do throws(ConnectionError) {
            try await arrival.accept(on: connection)
        } catch {
            return
        }
        counters.sessions.increment()
        let session = MailboxSession(
            connection,
            location: location,
            store: store,
            settings: settings,
            disk: disk,
            watcher: watcher,
            counters: counters,
            logger: logger
        )
        await session.run()
    }

    private func refuse(_ connection: Connection, _ kind: ReplyKind, status: String, text: String) async {
        counters.sessionsRefused.increment()
        await LoginArrival.refuse(connection, kind, status: status, text: text)
    }

    /// Accepts no more and lets the sessions end, no longer than the grace.
    package func shutDown(grace: TimeAmount) async {
        await server.shutDown(grace: grace)
        watcher?.stop()
    }
}
