import CoreMetrics
import Accounts
import IMAP
import Logging
import NIOCore
import Network
import TLS

/// A socket that listens, and for whom.
package struct IMAPEndpoint: Sendable {
    package let kind: IMAPListenerKind
    package let socket: CInt

    /// A socket on which `listen` was called.
    package init(_ kind: IMAPListenerKind, socket: CInt) {
        self.kind = kind
        self.socket = socket
    }
}

/// The front's work: accepts clients and runs a session for each.
package final class FrontService: Sendable {
    private let settings: FrontSettings
    private let tlsContext: TLSContext?
    private let listener: Listener
    private let accounts: [ObjectIdentifier: AccountsClient]
    private let counters = FrontCounters()
    private let logger: Logger

    /// - Parameter tlsContext: our certificate; without it there is no TLS.
    package init(
        settings: FrontSettings,
        limits: Listener.Limits,
        tlsContext: TLSContext?,
        group: any EventLoopGroup,
        logger: Logger
    ) {
        self.settings = settings
        self.tlsContext = tlsContext
        self.logger = logger
        listener = Listener(group: group, limits: limits)
        var accounts: [ObjectIdentifier: AccountsClient] = [:]
        for loop in group.makeIterator() {
            accounts[ObjectIdentifier(loop)] = AccountsClient(
                path: settings.authoritySocket,
                on: loop,
                timeout: settings.authorityTimeout
            )
        }
        self.accounts = accounts
    }

    /// Starts to accept clients; the sockets belong to the service from now on.
    package func start(_ endpoints: [IMAPEndpoint]) async throws {
        for endpoint in endpoints {
            try await listener.accept(
                on: endpoint.socket,
                refuse: { await self.refuse($0, $1, endpoint.kind) },
                session: { await self.serve($0, endpoint.kind) }
            )
        }
    }

    private func serve(_ connection: Connection, _ kind: IMAPListenerKind) async {
        guard let accounts = accounts[ObjectIdentifier(connection.eventLoop)] else { return }
        counters.connections.increment()
        await FrontSession(
            connection,
            kind: kind,
            settings: settings,
            tlsContext: tlsContext,
            accounts: accounts,
            counters: counters,
            logger: logger
        ).run()
    }

    private func refuse(_ connection: Connection, _ refusal: Listener.Refusal, _ kind: IMAPListenerKind) async {
        counters.connectionsRefused.increment()
        let client = connection.remoteAddress?.ipAddress ?? "unknown"
        logger.notice("connection refused", metadata: ["client": "\(client)", "reason": "\(refusal)"])
        guard kind == .imap else { return }
        var writer = ResponseWriter()
        writer.status(.bye, code: .limit, "too many connections, try again later")
        connection.write(writer.buffer)
        try? await connection.flush()
    }

    /// Accepts nobody any more and lets the sessions end, no longer than the grace.
    package func shutDown(grace: TimeAmount) async { await listener.shutDown(grace: grace) }
}
