import Accounts
import Bus
import CoreMetrics
import Front
import Logging
import Mailbox
import NIOCore
import Network
import SMTP

/// The settings of a mailbox process's listener.
package struct MailboxServerSettings: Sendable {
    /// Which tickets it redeems.
    package var login: LoginService
    /// The path of authd's socket.
    package var authoritySocket = "run/auth.sock"
    /// Uids that may hand over logins, beside root and our own.
    package var fronts: Set<UInt32> = []
    /// Sessions at the same time.
    package var maximumSessions = 2000
    /// How long a front may take to hand over a login.
    package var arrivalTimeout = TimeAmount.seconds(30)

    package init(login: LoginService) { self.login = login }
}

/// The mailbox process's listener: takes over logins from the front, opens their mailboxes, and runs the service's
/// session for each.
package final class MailboxServer<Service: MailboxService>: Sendable {
    private let service: Service
    private let settings: MailboxServerSettings
    private let directory: MailDirectory
    private let pool: BlockingPool
    private let server: BusServer
    private let accounts: PerLoop<AccountsClient>
    private let sessions = Counter(label: "sessions")
    private let sessionsRefused = Counter(label: "sessions-refused")
    private let logger: Logger

    /// - Parameter pool: opens the mailboxes.
    package init(
        _ service: Service,
        settings: MailboxServerSettings,
        directory: MailDirectory,
        pool: BlockingPool,
        group: any EventLoopGroup,
        logger: Logger
    ) {
        self.service = service
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
        accounts = PerLoop { AccountsClient(path: settings.authoritySocket, on: $0) }
    }

    /// Starts to accept the front's connections; the socket belongs to the server from now on.
    package func start(on socket: CInt) async throws {
        try await server.accept(on: socket, sessions: .long) { await self.serve($0) }
    }

    private func serve(_ connection: Connection) async {
        connection.idleTimeout = settings.arrivalTimeout
        let accounts = accounts[connection.eventLoop]
        guard let arrival = await LoginArrival.receive(on: connection, service: settings.login, accounts: accounts)
        else { return sessionsRefused.increment() }
        let mailbox: Service.OpenMailbox
        do throws(MailboxError) {
            mailbox = try await open(arrival.mailbox, on: connection.eventLoop)
        } catch {
            sessionsRefused.increment()
            logger.notice(
                "mailbox not opened",
                metadata: ["user": "\(arrival.mailbox.address)", "reason": "\(error)"]
            )
            let (status, text) = Self.refusal(error)
            return await LoginArrival.refuse(connection, .defer, status: status, text: text)
        }
        sessions.increment()
        await service.serve(connection, mailbox, for: arrival)
    }

    private func open(
        _ account: AccountMailbox,
        on loop: any EventLoop
    ) async throws(MailboxError) -> Service.OpenMailbox {
        guard let format = MailboxFormat(rawValue: account.format),
            let location = MailboxLocation(path: account.mailbox, format: format, quota: account.quota)
        else { throw .invalidName }
        let (service, directory) = (service, directory)
        return try await pool.line(location.path).runWhenFree(on: loop) { () throws(MailboxError) in
            try service.open(try directory.open(location), at: location, of: account.address, in: directory)
        }
    }

    /// All of it may pass: the mailbox exists, or authd would not have named it.
    private static func refusal(_ error: MailboxError) -> (EnhancedStatusCode, String) {
        switch error {
        case .locked: (.mailboxInUse, "another session has the mailbox")
        case .busy: (.mailboxInUse, "the mailbox is in use by another program")
        case .noSpace: (.systemFull, "the disk is full")
        case .notFound, .vanished, .exists, .invalidName, .overQuota, .noPermission, .unsupported, .corrupt, .uncertain,
            .system:
            (.systemTrouble, "the mailbox cannot be opened now")
        }
    }

    /// Accepts no more logins and lets the sessions end, no longer than the grace.
    package func shutDown(grace: TimeAmount) async {
        await server.shutDown(grace: grace)
        service.end()
    }
}
