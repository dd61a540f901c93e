import Accounts
import CoreMetrics
import Logging
import NIOCore
import Network
import SMTP
import Submission
import TLS

/// A socket that listens, and for whom.
package struct ListeningEndpoint: Sendable {
    package let kind: ListenerKind
    package let socket: CInt

    /// A socket on which `listen` was called.
    package init(_ kind: ListenerKind, socket: CInt) {
        self.kind = kind
        self.socket = socket
    }
}

/// smtpd's work: accepts clients and runs a session for each.
package final class SMTPService: Sendable {
    private let settings: ServerSettings
    private let tlsContext: TLSContext?
    private let listener: Listener
    private let resources: [ObjectIdentifier: LoopResources]
    private let counters = ServerCounters()
    private let logger: Logger

    /// - Parameters:
    ///   - limits: connections in all and from one client.
    ///   - tlsContext: our certificate; without it there is no TLS, and so no login.
    package init(
        settings: ServerSettings,
        limits: Listener.Limits,
        tlsContext: TLSContext?,
        group: any EventLoopGroup,
        logger: Logger
    ) {
        self.settings = settings
        self.tlsContext = tlsContext
        self.logger = logger
        listener = Listener(group: group, limits: limits)
        var resources: [ObjectIdentifier: LoopResources] = [:]
        for loop in group.makeIterator() {
            resources[ObjectIdentifier(loop)] = Self.resources(settings, on: loop)
        }
        self.resources = resources
    }

    private static func resources(_ settings: ServerSettings, on loop: any EventLoop) -> LoopResources {
        let accounts = AccountsClient(path: settings.authoritySocket, on: loop, timeout: settings.authorityTimeout)
        return LoopResources(
            submissions: SubmissionClient(path: settings.queueSocket, on: loop, timeout: settings.queueTimeout),
            recipients: RecipientDirectory(accounts: accounts, lifetime: settings.recipientCache),
            accounts: accounts
        )
    }

    /// Starts to accept clients; the sockets belong to the service from now on.
    package func start(_ endpoints: [ListeningEndpoint]) async throws {
        for endpoint in endpoints {
            try await listener.accept(
                on: endpoint.socket,
                refuse: { await self.refuse($0, $1, endpoint.kind) },
                session: { await self.serve($0, endpoint.kind) }
            )
        }
    }

    private func serve(_ connection: Connection, _ kind: ListenerKind) async {
        guard let resources = resources[ObjectIdentifier(connection.eventLoop)] else { return }
        counters.connections.increment()
        await Session(
            connection,
            kind: kind,
            settings: settings,
            tlsContext: tlsContext,
            resources: resources,
            counters: counters,
            logger: logger
        ).run()
    }

    private func refuse(_ connection: Connection, _ refusal: Listener.Refusal, _ kind: ListenerKind) async {
        counters.connectionsRefused.increment()
        logger.notice(
            "connection refused",
            metadata: ["client": "\(ClientText.text(connection.remoteAddress))", "reason": "\(refusal)"]
        )
        // Before TLS nothing can be said where TLS comes first.
        guard kind != .submissions else { return }
        let text =
            switch refusal {
            case .tooManyConnections: "too many connections, try again later"
            case .tooManyFromClient: "too many connections from your address"
            }
        connection.write { Reply.write(.serviceNotAvailable, .refusedForNow, text, to: &$0) }
        try? await connection.flush()
    }

    /// Accepts nobody any more and lets the sessions end, no longer than the grace.
    package func shutDown(grace: TimeAmount) async {
        await listener.shutDown(grace: grace)
    }
}
