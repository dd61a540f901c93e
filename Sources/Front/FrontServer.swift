import Accounts
import CoreMetrics
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Network
import TLS

/// Our certificate, for strangers of all kinds and for those who come to log in: they may be asked for theirs.
package struct TLSContexts: Sendable {
    let forAll: TLSContext?
    let forUsers: TLSContext?

    init(_ context: TLSContext?) { self.init(forAll: context, forUsers: context) }

    init(forAll: TLSContext?, forUsers: TLSContext?) {
        self.forAll = forAll
        self.forUsers = forUsers
    }
}

/// The listener for strangers: counts them and refuses those over a limit, starts implicit TLS, and runs the service's
/// session for each.
package final class FrontServer<Service: FrontService>: Sendable {
    private let service: Service
    private let tlsContexts: TLSContexts
    /// One for each role, so that no port takes the places of another.
    private let listeners = NIOLockedValueBox<[Service.Role: Listener]>([:])
    private let group: any EventLoopGroup
    private let authorities: PerLoop<LoopAuthority>
    private let counters = FrontCounters()
    private let logger: Logger

    /// - Parameter tlsContext: our certificate; without it there is no TLS.
    package convenience init(_ service: Service, tlsContext: TLSContext?, group: any EventLoopGroup, logger: Logger) {
        self.init(service, tlsContexts: TLSContexts(tlsContext), group: group, logger: logger)
    }

    init(_ service: Service, tlsContexts: TLSContexts, group: any EventLoopGroup, logger: Logger) {
        self.service = service
        self.tlsContexts = tlsContexts
        self.logger = logger
        self.group = group
        let settings = service.front
        authorities = PerLoop { LoopAuthority(settings, on: $0) }
    }

    /// Starts to accept clients; the sockets belong to the server from now on.
    package func start(_ endpoints: [FrontEndpoint<Service.Role>]) async throws {
        for endpoint in endpoints {
            let role = endpoint.role
            let listener = listener(for: role)
            try await listener.accept(
                on: endpoint.socket,
                sessions: service.sessions,
                refuse: { await self.refuse($0, $1, role) },
                session: { await self.serve($0, role) }
            )
        }
    }

    private func listener(for role: Service.Role) -> Listener {
        listeners.withLockedValue { listeners in
            if let known = listeners[role] { return known }
            // Who comes by a proxy is counted once it has said who that is.
            let listener = Listener(
                group: group,
                limits: service.front(of: role).connections,
                proxies: service.proxies(of: role) ?? []
            )
            listeners[role] = listener
            return listener
        }
    }

    private func serve(_ connection: Connection, _ role: Service.Role) async {
        counters.connections.increment()
        let settings = service.front(of: role)
        let client = FrontClient(
            connection,
            offersTLS: !role.isEncrypted,
            settings: settings,
            tlsContext: role.isForUsers ? tlsContexts.forUsers : tlsContexts.forAll,
            authority: authorities[connection.eventLoop],
            counters: counters,
            logger: logger
        )
        connection.idleTimeout = settings.idleTimeout
        connection.deadline = .now() + settings.sessionTimeout
        if let proxies = service.proxies(of: role) {
            let met = await client.meet(proxies) { [service] reason in
                role.isEncrypted ? nil : service.refusal(reason)
            }
            guard met else { return }
        }
        if role.isEncrypted {
            do throws(ConnectionError) {
                // Behind the words of a proxy the handshake may have begun.
                try await client.beginTLS(reply: nil, isBegun: true)
            } catch {
                // Without TLS the client would not understand a reply.
                return client.logEnd(error)
            }
        }
        await service.serve(client, as: role)
    }

    private func refuse(_ connection: Connection, _ refusal: Listener.Refusal, _ role: Service.Role) async {
        counters.connectionsRefused.increment()
        logger.notice(
            "connection refused",
            metadata: ["client": "\(FrontClient.text(connection))", "reason": "\(refusal)"]
        )
        // With implicit TLS, nothing can be sent before the handshake.
        guard !role.isEncrypted else { return }
        connection.write(service.refusal(refusal))
        try? await connection.flush()
    }

    /// Accepts nobody any more and lets the sessions end, no longer than the grace.
    package func shutDown(grace: TimeAmount) async {
        await withTaskGroup(of: Void.self) { group in
            for listener in listeners.withLockedValue({ Array($0.values) }) {
                group.addTask { await listener.shutDown(grace: grace) }
            }
        }
    }
}
