import Accounts
import Bus
import CoreMetrics
import Logging
import Login
import Mailbox
import NIOCore
import NIOPosix
import Network

/// The mailbox process: takes over logins from the front and serves their sessions.
package final class MailboxService: Sendable {
    let settings: MailboxSettings
    let directory: MailDirectory
    let pool: NIOThreadPool
    let logger: Logger
    let sessions = Counter(label: "sessions")
    let messagesRead = Counter(label: "messages-read")
    let messagesDeleted = Counter(label: "messages-deleted")
    private let server: BusServer
    private let accounts: [ObjectIdentifier: AccountsClient]

    /// - Parameter pool: runs what waits for the disk.
    package init(
        settings: MailboxSettings,
        directory: MailDirectory,
        pool: NIOThreadPool,
        group: any EventLoopGroup,
        logger: Logger
    ) {
        self.settings = settings
        self.directory = directory
        self.pool = pool
        self.logger = logger
        server = BusServer(
            group: group,
            allowed: settings.fronts,
            connections: settings.maximumSessions,
            logger: logger
        )
        var accounts: [ObjectIdentifier: AccountsClient] = [:]
        for loop in group.makeIterator() {
            accounts[ObjectIdentifier(loop)] = AccountsClient(path: settings.authoritySocket, on: loop)
        }
        self.accounts = accounts
    }

    /// Starts to accept the front's connections; the socket belongs to the service from now on.
    package func start(on socket: CInt) async throws {
        try await server.accept(on: socket) { connection in await self.serve(connection) }
    }

    private func serve(_ connection: Connection) async {
        guard let accounts = accounts[ObjectIdentifier(connection.eventLoop)] else { return }
        connection.idleTimeout = .seconds(30)
        guard let arrival = await LoginArrival.receive(on: connection, service: .pop3, accounts: accounts) else {
            return
        }
        let maildrop: Maildrop
        do throws(MailboxError) {
            maildrop = try await open(arrival.mailbox, on: connection.eventLoop)
        } catch {
            logger.notice(
                "mailbox not opened",
                metadata: ["address": "\(arrival.mailbox.address)", "reason": "\(error)"]
            )
            let reply = Self.refusal(error)
            return await LoginArrival.refuse(connection, .defer, status: reply.status, text: reply.text)
        }
        sessions.increment()
        await MailboxSession(connection, maildrop, service: self, arrival: arrival).run()
    }

    private func open(_ account: AccountMailbox, on loop: any EventLoop) async throws(MailboxError) -> Maildrop {
        guard let format = MailboxFormat(rawValue: account.format),
            let location = MailboxLocation(path: account.mailbox, format: format, quota: account.quota)
        else { throw .invalidName }
        let directory = directory
        return try await blocking(on: loop) { () throws(MailboxError) in
            try Maildrop(try directory.open(location))
        }
    }

    /// Runs what waits for the disk on a thread of the pool.
    func blocking<Value: Sendable>(
        on loop: any EventLoop,
        _ work: @escaping @Sendable () throws(MailboxError) -> Value
    ) async throws(MailboxError) -> Value {
        do {
            return try await pool.runIfActive(eventLoop: loop, work).get()
        } catch let error as MailboxError {
            throw error
        } catch {
            throw .corrupt("the process is about to end")
        }
    }

    private static func refusal(_ error: MailboxError) -> (status: String, text: String) {
        switch error {
        case .locked: return ("4.2.0", "another session has the mailbox")
        case .noSpace: return ("4.3.1", "the disk is full")
        default: return ("4.3.0", "the mailbox cannot be opened now")
        }
    }

    /// Accepts nobody any more and lets the sessions end, no longer than the grace.
    package func shutDown(grace: TimeAmount) async { await server.shutDown(grace: grace) }
}
