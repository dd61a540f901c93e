import Bus
import DNS
import Daemon
import LocalZones
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Recursion
import TLS

/// The whole resolver: what we have authority for, an engine and a part of the cache for each event loop, and the listeners.
package final class ResolverServer: Sendable {
    let settings: ResolverSettings
    private let logger: Logger
    let authority: ZoneAuthority
    private let published = NIOLockedValueBox<Set<DomainName>?>(nil)
    private let signers: [ZoneSigner]
    let engines: [QueryEngine]
    let shards: [Shard]
    /// Each kind of connection has places of its own: a crowd at one shuts out nobody at another.
    private let tcp: Listener
    private let tls: Listener
    private let https: Listener
    private let local: Listener
    private let clients: ClientConnections
    private let datagrams = NIOLockedValueBox<[any Channel]>([])
    let keeper = NIOLockedValueBox<TrustAnchorKeeper?>(nil)
    private let controlling = NIOLockedValueBox<BusServer?>(nil)

    /// How many connections the Unix-domain socket takes.
    private static let maximumLocalConnections = 1000
    /// How many of them one local user has.
    private static let maximumLocalPerUser = 200
    /// How many connections the control socket takes.
    private static let maximumControls = 100
    /// How long a connection there may be silent: those are daemons that keep theirs.
    private static let localIdleTimeout = TimeAmount.hours(1)

    /// - Parameters:
    ///   - keys: those that messages are signed with.
    ///   - state: the directory in which resolverd keeps what is its own, open.
    init(
        _ settings: ResolverSettings,
        zones: [ZoneFile],
        keys: TSIGKeyStore = TSIGKeyStore(),
        state: CInt = -1,
        group: any EventLoopGroup,
        logger: Logger
    ) {
        self.settings = settings
        self.logger = logger
        let counters = ResolverCounters()
        let clock = settings.clock
        let authority = ZoneAuthority(
            settings.zones,
            files: zones,
            keys: keys,
            state: state,
            clock: clock,
            counters: counters.zones,
            logger: logger
        )
        self.authority = authority
        let loops = Array(group.makeIterator())
        let share = settings.cacheSize / max(loops.count, 1)
        let signatureShare = settings.signatureLimit / max(loops.count, 1)
        let names = NameSpace(.init(broken: Set(zones.map(\.origin))), settings)
        let signers = loops.map { _ in
            ZoneSigner(settings.zones, cacheLimit: signatureShare, clock: clock, counters: counters.zones)
        }
        self.signers = signers
        let shards = zip(loops, signers).map {
            Shard(
                settings.recursion,
                on: $0,
                routes: LoopRoutes(names: names, signer: $1),
                share: share,
                clock: clock,
                counters: counters.recursion,
                logger: logger
            )
        }
        self.shards = shards
        engines = zip(loops, signers).map {
            QueryEngine(
                settings,
                on: $0,
                names: names,
                shards: shards,
                signer: $1,
                authority: authority,
                counters: counters,
                logger: logger
            )
        }
        let limits = Listener.Limits(
            connections: settings.maximumConnections,
            perClient: settings.maximumConnectionsPerClient
        )
        tcp = Listener(group: group, limits: limits)
        tls = Listener(group: group, limits: limits)
        https = Listener(group: group, limits: limits)
        clients = ClientConnections(limit: settings.maximumConnectionsPerClient)
        local = Listener(
            group: group,
            limits: .init(connections: Self.maximumLocalConnections, perClient: Self.maximumLocalPerUser)
        )
    }

    /// Loads the zones and starts to answer.
    ///
    /// - Parameters:
    ///   - datagrams: for each address, bound UDP sockets, one for each event loop or fewer.
    ///   - streams: listening TCP sockets.
    ///   - unix: the listening Unix-domain socket.
    func start(datagrams sockets: [[CInt]], streams: [CInt], unix: CInt?) async throws {
        await authority.start(on: engines[0].loop) { [weak self] done in
            guard let self else { return done() }
            publish(then: done)
        }
        for shared in sockets {
            for (index, socket) in shared.enumerated() {
                let channel = try await DatagramServer.start(on: socket, engines[index % engines.count])
                datagrams.withLockedValue { $0.append(channel) }
            }
        }
        for socket in streams {
            try await tcp.accept(on: socket) { [self] connection in
                let client = connection.remoteAddress?.clientKey ?? []
                guard clients.take(client) else { return }
                defer { clients.give(client) }
                await serve(connection, .tcp, idle: settings.idleTimeout)
            }
        }
        if let unix {
            try await local.accept(on: unix) { [self] in await serve($0, .local, idle: Self.localIdleTimeout) }
        }
        authority.follow()
    }

    /// Answers by DNS over TLS or HTTPS as well.
    func start(_ listener: EncryptedListener) async throws {
        try await (listener.path == nil ? tls : https).accept(on: listener.socket) { [self] connection in
            let client = connection.remoteAddress?.clientKey ?? []
            guard clients.take(client) else { return }
            defer { clients.give(client) }
            connection.idleTimeout = settings.idleTimeout
            do {
                try await connection.startTLS(server: listener.context, reply: nil)
            } catch {
                return
            }
            guard let path = listener.path else {
                return await serve(connection, .tls, idle: settings.idleTimeout)
            }
            guard let engine = engine(of: connection) else { return }
            await HTTPSSession(connection, engine, path: path, idleTimeout: settings.idleTimeout).run()
        }
    }

    private func engine(of connection: Connection) -> QueryEngine? {
        engines.first { $0.loop === connection.eventLoop }
    }

    private func serve(_ connection: Connection, _ transport: QueryEngine.Transport, idle: TimeAmount) async {
        guard let engine = engine(of: connection) else { return }
        connection.idleTimeout = idle
        await StreamSession(connection, engine, transport).run()
    }

    /// Reads the zones' files again.
    ///
    /// - Parameter onlyChanged: leaves files alone that look as before.
    package func reload(onlyChanged: Bool = false) async { await authority.reload(onlyChanged: onlyChanged) }

    /// Has all event loops answer from the zones that there are now, and calls back when they do. From any thread.
    private func publish(then done: @escaping @Sendable () -> Void) {
        let adopted = published.withLockedValue { last in
            // Under the lock, so that an older state never comes last.
            let served = authority.served
            let names = NameSpace(served, settings)
            let origins = Set(served.zones.map(\.origin))
            defer { last = origins }
            let onlyVersions = last == origins
            authority.notify(served)
            return engines.indices.map { index in
                let (engine, shard, signer) = (engines[index], shards[index], signers[index])
                return engine.loop.submit {
                    engine.adopt(names, onlyVersions: onlyVersions)
                    shard.adopt(LoopRoutes(names: names, signer: signer), onlyVersions: onlyVersions)
                }
            }
        }
        guard let loop = engines.first?.loop else { return done() }
        EventLoopFuture.andAllComplete(adopted, on: loop).whenComplete { _ in done() }
    }

    /// Looks for changed zone files at intervals until the task is cancelled.
    func watch(every interval: TimeAmount) async {
        guard let loop = engines.first?.loop else { return }
        while !Task.isCancelled {
            await loop.pause(interval)
            await reload(onlyChanged: true)
        }
    }

    /// What the caches for answers of others take now, octets, and how many answers they hold.
    func cacheSize() async -> (octets: Int, answers: Int) {
        var sum = (octets: 0, answers: 0)
        for shard in shards {
            let size = try? await shard.loop.submit { shard.size }.get()
            sum.octets += size?.octets ?? 0
            sum.answers += size?.answers ?? 0
        }
        return sum
    }

    // MARK: Control

    /// Answers requests of the administrator on a listening Unix-domain socket.
    func control(on socket: CInt, administrators: Set<UInt32>, group: any EventLoopGroup) async throws {
        let bus = BusServer(group: group, allowed: administrators, connections: Self.maximumControls, logger: logger)
        let control = ResolverControl(server: self)
        try await bus.answer(on: socket) { try await control.answer($0, on: $1) }
        controlling.withLockedValue { $0 = bus }
    }

    /// Forgets all answers, those of one name, or those at and below it; gives how many those were.
    func flush(_ name: DomainName?, below isBelow: Bool) async -> Int {
        var count = 0
        for shard in shards {
            count += await shard.onLoop { shard in
                if let name { return shard.forget(name, below: isBelow) }
                defer { shard.flush() }
                return shard.size.answers
            }
        }
        for engine in engines { _ = try? await engine.loop.submit { engine.forgetReadyAnswers() }.get() }
        return count
    }

    /// What the answers that are kept ready take, and may take. Octets.
    var readyOctets: (octets: Int, limit: Int) {
        get async {
            var sum = (octets: 0, limit: 0)
            for engine in engines {
                let (octets, limit) = (try? await engine.loop.submit { engine.readyOctets }.get()) ?? (0, 0)
                sum.octets += octets
                sum.limit += limit
            }
            return sum
        }
    }

    /// Switches the log of queries.
    func logQueries(_ isOn: Bool) async {
        for engine in engines { _ = try? await engine.loop.submit { engine.logsQueries = isOn }.get() }
    }

    /// Whether queries are logged.
    var logsQueries: Bool {
        get async {
            guard let engine = engines.first else { return false }
            return (try? await engine.loop.submit { engine.logsQueries }.get()) ?? false
        }
    }

    /// The zones that are answered or forwarded, as the administrator has them.
    var localZones: [ZoneDescription] {
        var all = authority.descriptions
        all += settings.recursion.stubZones.keys.map { ZoneDescription(name: $0, kind: "stub") }
        all += settings.forwardZones.keys.map { ZoneDescription(name: $0, kind: "forward") }
        return all.sorted { $0.name < $1.name }
    }

    /// Ends: no more queries, a moment for the answers that are under way.
    package func shutDown(grace: TimeAmount) async {
        authority.close()
        for channel in datagrams.withLockedValue({ $0 }) { try? await channel.close() }
        await withDiscardingTaskGroup { group in
            for listener in [tcp, tls, https, local] { group.addTask { await listener.shutDown(grace: grace) } }
        }
        await controlling.withLockedValue { $0 }?.shutDown(grace: .milliseconds(100))
        await authority.write()
        for shard in shards { _ = try? await shard.loop.submit { shard.close() }.get() }
    }
}

/// A socket on which encrypted queries are answered.
struct EncryptedListener: Sendable {
    /// It listens.
    let socket: CInt
    let context: TLSContext
    /// Where DNS over HTTPS (RFC 8484) is answered; nil for DNS over TLS (RFC 7858).
    let path: String?

    /// What is spoken for DNS over TLS, for ALPN (RFC 7858 says nothing; registered with IANA).
    static let tlsProtocols = ["dot"]
}
