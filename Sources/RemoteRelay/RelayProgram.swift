import Bus
import DNS
import Daemon
import NIOCore
import NIOPosix
import Network
import Resolution
import TLS

/// remote-relay: sends mail to other hosts.
package struct RelayProgram: DaemonProgram {
    package struct Prepared: Sendable {
        let socket: CInt
        let queue: CInt
        let allowed: Set<UInt32>
        let tls: TLSContext
        let interfaces: [SocketAddress]
    }

    package let name = DaemonName.remoteRelay

    package init() {}

    package func prepare(_ setup: Setup) throws -> Prepared {
        let queue = try setup.directory("spool/queue")
        setup.rights.allowReading(beneath: queue, listing: false)
        setup.rights.root = "run"
        return Prepared(
            socket: try setup.listen(unix: "run/relay.sock"),
            queue: queue,
            allowed: setup.uids(of: [.queueManager]),
            tls: try TLSContext(clientVerifying: false, minimum: setup.configuration.tls.minimumVersion),
            interfaces: RelaySettings.interfaces()
        )
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let settings = RelaySettings(context.configuration, interfaces: prepared.interfaces)
        let loop = context.group.next()
        let pool = NIOThreadPool(numberOfThreads: 2)
        pool.start()
        let resolver = StubResolver(path: context.socket("dns.sock"), on: loop)
        let lookup = HostLookup(settings: settings, logger: context.logger) {
            (name, type) async throws(ResolutionError) in try await resolver.query(name, type)
        }
        let relay = Relay(settings: settings, lookup: lookup, tls: prepared.tls, pool: pool, loop: loop)
        let service = RelayService(relay: relay, queue: prepared.queue, logger: context.logger)
        let server = BusServer(group: context.group, allowed: prepared.allowed, logger: context.logger)
        try await server.accept(on: prepared.socket) { await service.serve($0) }
        context.announceReadiness()
        await context.untilShutdown()
        await server.shutDown(grace: .seconds(5))
        loop.execute { relay.close() }
    }
}
