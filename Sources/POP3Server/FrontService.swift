import Accounts
import CoreMetrics
import Logging
import Login
import NIOCore
import Network
import POP3
import TLS

/// The front: accepts clients and speaks with them until they have logged in.
package final class FrontService: Sendable {
    /// A socket that listens.
    package struct Endpoint: Sendable {
        package let socket: CInt
        /// Whether TLS begins with the first octet.
        package let isEncrypted: Bool

        package init(socket: CInt, isEncrypted: Bool) {
            self.socket = socket
            self.isEncrypted = isEncrypted
        }
    }

    let settings: FrontSettings
    let tlsContext: TLSContext
    let counters = FrontCounters()
    let logger: Logger
    let handover: LoginHandover
    private let listener: Listener
    private let accounts: [ObjectIdentifier: AccountsClient]

    /// - Parameter limits: connections in all and from one client.
    package init(
        settings: FrontSettings,
        limits: Listener.Limits,
        tlsContext: TLSContext,
        group: any EventLoopGroup,
        logger: Logger
    ) {
        self.settings = settings
        self.tlsContext = tlsContext
        self.logger = logger
        handover = LoginHandover(path: settings.mailboxSocket)
        listener = Listener(group: group, limits: limits)
        var accounts: [ObjectIdentifier: AccountsClient] = [:]
        for loop in group.makeIterator() {
            accounts[ObjectIdentifier(loop)] = AccountsClient(path: settings.authoritySocket, on: loop)
        }
        self.accounts = accounts
    }

    /// Starts to accept clients; the sockets belong to the service from now on.
    package func start(_ endpoints: [Endpoint]) async throws {
        for endpoint in endpoints {
            try await listener.accept(
                on: endpoint.socket,
                refuse: { connection, refusal in await self.refuse(connection, refusal, endpoint) },
                session: { connection in await self.serve(connection, endpoint) }
            )
        }
    }

    private func serve(_ connection: Connection, _ endpoint: Endpoint) async {
        guard let accounts = accounts[ObjectIdentifier(connection.eventLoop)] else { return }
        counters.connections.increment()
        await FrontSession(connection, service: self, accounts: accounts).run(isEncrypted: endpoint.isEncrypted)
    }

    private func refuse(_ connection: Connection, _ refusal: Listener.Refusal, _ endpoint: Endpoint) async {
        counters.connectionsRefused.increment()
        logger.notice(
            "connection refused",
            metadata: ["client": "\(connection.remoteAddress.clientText)", "reason": "\(refusal)"]
        )
        // Where TLS comes first, nothing can be said before it.
        guard !endpoint.isEncrypted else { return }
        connection.write { $0.writeError(.temporary, "too many connections, try again later") }
        try? await connection.flush()
    }

    /// Accepts nobody any more and lets the sessions end, no longer than the grace.
    package func shutDown(grace: TimeAmount) async { await listener.shutDown(grace: grace) }
}

extension SocketAddress? {
    /// The client for the log and for authd; an IPv4 address mapped into IPv6 is written as the IPv4 address.
    var clientText: String {
        guard let self else { return "local" }
        if let octets = self.addressOctets, octets.count == 4 {
            return octets.map { String($0) }.joined(separator: ".")
        }
        return self.ipAddress ?? "local"
    }

    /// Whether the client is on this machine.
    var isLoopback: Bool {
        guard let octets = self?.addressOctets else { return false }
        return octets.count == 4 ? octets[0] == 127 : octets.dropLast().allSatisfy { $0 == 0 } && octets.last == 1
    }
}
