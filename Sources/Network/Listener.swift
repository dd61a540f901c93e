import CLinux
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// Accepts connections on sockets that already listen and runs one task for each on the connection's event loop.
package final class Listener: Sendable {
    /// How many connections a listener admits.
    package struct Limits: Sendable {
        /// Connections at the same time. When there are so many, one goes for each that comes, if there is one with nothing to
        /// lose (`ConnectionStanding`).
        package var connections: Int
        /// Connections at the same time from one client: an IPv4 address, an IPv6 /64, or a local user.
        package var perClient: Int
        /// Local users for whom there is no limit: root, who must always get in, and daemons.
        package var exempt: Set<UInt32>

        package init(connections: Int = 10_000, perClient: Int = .max, exempt: Set<UInt32> = []) {
            self.connections = connections
            self.perClient = perClient
            self.exempt = exempt.union([0, getuid()])
        }
    }

    /// Why a connection was not admitted; the client may be told.
    package enum Refusal: Sendable {
        case tooManyConnections
        case tooManyFromClient
    }

    /// How long sessions are, which decides on which loop each runs.
    package enum Sessions: Sendable {
        /// Soon over: each runs on the loop that accepts it, which is the first that has time.
        case short
        /// Open for minutes or hours, mostly idle: dealt out to the loops in turn. Whoever accepts first on an idle system is
        /// always the same loop, which would have all of them when they become busy.
        case long
    }

    private struct Live {
        var connections: AdmittedConnections
        var isClosed = false
        var idle: [EventLoopPromise<Void>] = []
    }

    /// Connections that the kernel holds until we accept them.
    private static let backlog: CInt = 1024
    /// Loops that all accept on one socket.
    #if DEBUG
    // NIO asserts that whoever was woken finds somebody to accept; another loop may have been quicker.
    private static let maximumAcceptors = 1
    #else
    private static let maximumAcceptors = 4
    #endif

    private let group: any EventLoopGroup
    private let limits: Limits
    private let proxies: [AddressRange]
    private let live: NIOLockedValueBox<Live>
    private let channels = NIOLockedValueBox<[any Channel]>([])

    /// - Parameter proxies: networks of hosts that bring other clients; each of those counts, once `recount` says who it is.
    package init(group: any EventLoopGroup, limits: Limits = Limits(), proxies: [AddressRange] = []) {
        self.group = group
        self.proxies = proxies
        self.limits = limits
        live = NIOLockedValueBox(Live(connections: AdmittedConnections(limits)))
    }

    /// Connections that are open now.
    package var count: Int { live.withLockedValue { $0.connections.count } }

    /// Starts to accept on a listening socket.
    ///
    /// - Parameters:
    ///   - socket: a descriptor that `listen` was called on; it belongs to the listener from now on.
    ///   - sessions: how long they are.
    ///   - refuse: what to do with a connection over a limit before it's closed.
    ///   - session: runs on the connection's loop; the connection is closed when it returns.
    package func accept(
        on socket: CInt,
        sessions: Sessions = .short,
        refuse: (@Sendable (Connection, Refusal) async -> Void)? = nil,
        session: @escaping @Sendable (Connection) async -> Void
    ) async throws {
        let acceptors = try Self.acceptors(socket, group, sessions, maximum: Self.maximumAcceptors)
        for (socket, acceptor, sessions) in acceptors {
            let bootstrap = ServerBootstrap(group: acceptor, childGroup: sessions)
                // One at a time where another loop may have time for the next one.
                .serverChannelOption(.maxMessagesPerRead, value: UInt(acceptors.count > 1 ? 1 : 16))
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelOption(.recvAllocator, value: Connection.receiveAllocator)
                .childChannelInitializer { [self] channel in
                    Connection.make(channel).map { self.admit($0, refuse: refuse, session: session) }
                }
            let channel = try await bootstrap.withBoundSocket(socket).get()
            // NIO has called listen with its own backlog.
            _ = listen(socket, Self.backlog)
            channels.withLockedValue { $0.append(channel) }
        }
    }

    /// Who accepts, and where the sessions run. Short ones: each loop for itself, so that no connection passes from thread to
    /// thread. Where they are long, or there are many loops, which each new connection would wake, one accepts for all.
    static func acceptors(
        _ socket: CInt,
        _ group: any EventLoopGroup,
        _ sessions: Sessions,
        maximum: Int
    ) throws(SocketError) -> [(socket: CInt, acceptor: any EventLoopGroup, sessions: any EventLoopGroup)] {
        let loops = Array(group.makeIterator())
        guard sessions == .short, loops.count > 1, loops.count <= maximum else { return [(socket, group, group)] }
        var acceptors: [(CInt, any EventLoopGroup, any EventLoopGroup)] = []
        for (index, loop) in loops.enumerated() {
            let own = index == 0 ? socket : fcntl(socket, F_DUPFD_CLOEXEC, 0)
            guard own >= 0 else {
                for (other, _, _) in acceptors { Glibc.close(other) }
                throw SocketError("share a listening socket")
            }
            acceptors.append((own, loop, loop))
        }
        return acceptors
    }

    private func admit(
        _ connection: Connection,
        refuse: (@Sendable (Connection, Refusal) async -> Void)?,
        session: @escaping @Sendable (Connection) async -> Void
    ) {
        if connection.remoteAddress == nil {
            connection.peerUser = Self.onSocket(of: connection) { UInt32(exactly: CLinux_peer_uid($0)) }
        }
        connection.listener = self
        let refusal = register(connection, client: client(of: connection))
        Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { [self] in
            if let refusal {
                await refuse?(connection, refusal)
            } else {
                await session(connection)
            }
            connection.close()
            // It has its place until it holds nothing of ours any more.
            await connection.finishSending()
            if refusal == nil { unregister(connection) }
        }
    }

    /// Who a connection is from; nil for whom there is no limit.
    private func client(of connection: Connection) -> [UInt8]? {
        if let address = connection.remoteAddress {
            guard let octets = address.addressOctets else { return address.clientKey }
            return proxies.contains { $0.contains(octets) } ? nil : address.clientKey
        }
        let user = connection.peerUser ?? .max
        // Of another length than any address.
        return limits.exempt.contains(user) ? nil : withUnsafeBytes(of: user) { [0] + Array($0) }
    }

    private func register(_ connection: Connection, client: [UInt8]?) -> Refusal? {
        let admission: AdmittedConnections.Admission = live.withLockedValue { live in
            live.isClosed ? .refused(.tooManyConnections) : live.connections.admit(connection, client: client)
        }
        switch admission {
        case .admitted: return nil
        case .inPlaceOf(let other):
            other.eventLoop.execute { other.dismiss() }
            return nil
        case .refused(let refusal): return refusal
        }
    }

    private func unregister(_ connection: Connection) {
        let idle: [EventLoopPromise<Void>] = live.withLockedValue { live in
            live.connections.remove(connection)
            guard live.connections.count == 0 else { return [] }
            defer { live.idle = [] }
            return live.idle
        }
        for promise in idle { promise.succeed(()) }
    }

    func note(_ standing: ConnectionStanding, of connection: Connection) {
        live.withLockedValue { $0.connections.note(standing, of: connection) }
    }

    func count(ofClientOf connection: Connection) -> Int {
        live.withLockedValue { $0.connections.count(ofClientOf: connection) }
    }

    func recount(_ connection: Connection, as address: SocketAddress) -> Refusal? {
        guard let client = address.clientKey else { return nil }
        return live.withLockedValue { $0.connections.recount(connection, client: client) }
    }

    /// Accepts no more, tells every session that the process ends, and waits until all are over, but no longer than
    /// the grace.
    package func shutDown(grace: TimeAmount) async {
        for channel in channels.withLockedValue({ $0 }) { channel.close(promise: nil) }
        let loop = group.next()
        let done = loop.makePromise(of: Void.self)
        let open: [Connection] = live.withLockedValue { live in
            live.isClosed = true
            if live.connections.count == 0 { done.succeed(()) } else { live.idle.append(done) }
            return live.connections.connections
        }
        for connection in open { connection.eventLoop.execute { connection.announceShutdown() } }
        let timer = loop.scheduleTask(in: grace) { done.succeed(()) }
        try? await done.futureResult.get()
        timer.cancel()
    }
}

extension Connection {
    /// The groups of the process at the other end of a Unix-domain socket; none where they are not known.
    package var peerGroups: [UInt32] {
        Listener.onSocket(of: self) { socket in
            var groups = [gid_t](repeating: 0, count: 256)
            let count = CLinux_peer_groups(socket, &groups, CInt(groups.count))
            return count > 0 ? Array(groups.prefix(Int(count))) : []
        } ?? []
    }
}

extension Listener {
    fileprivate static func onSocket<Value>(of connection: Connection, _ ask: (CInt) -> Value?) -> Value? {
        let operations = connection.channel.pipeline.syncOperations
        let found = try? operations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { ask($0) }
        return found ?? nil
    }
}
