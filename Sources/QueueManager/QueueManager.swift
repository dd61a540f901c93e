import Accounts
import Bus
import Daemon
import Files
import Logging
import NIOCore
import NIOPosix
import Network
import Spool

/// The queue with its spool and its two sockets.
package final class QueueManager: Sendable {
    let queue: Queue
    private let submissions: BusServer
    private let control: BusServer
    private let spool: Spool
    /// nil where the settings say which domains are ours.
    private let watch: DirectoryWatch?
    private let routes: RouteDirectory?
    private let loop: any EventLoop
    private let logger: Logger

    /// Opens the spool. Blocks while the journal is replayed.
    ///
    /// - Parameters:
    ///   - disk: another one than the machine's, for tests.
    ///   - onFailure: told when nothing can be promised any more; the process should end.
    package init(
        settings: QueueSettings,
        spool path: String,
        options: Spool.Options = Spool.Options(),
        loop: any EventLoop,
        disk: (any FileSystem)? = nil,
        clock: QueueClock = .system,
        logger: Logger,
        onFailure: @escaping @Sendable (SpoolError) -> Void
    ) throws(SpoolError) {
        var host = Spool.Host.thisMachine(loop: loop)
        if let disk { host.disk = disk }
        let log = QueueLog(logger)
        host.onLate = { id, error in log.unfiled(id, "\(error)") }
        spool = try Spool(path: path, options: options, host: host, onFailure: onFailure)
        queue = Queue(settings: settings, spool: spool, loop: loop, clock: clock, logger: logger)
        try queue.readPauses()
        if settings.disabledAccounts != .deliver {
            queue.submitters = Submitters(path: settings.authoritySocket, on: loop)
        }
        if settings.domains == nil { queue.aliases = AliasDirectory(path: settings.authoritySocket, on: loop) }
        let queue = queue
        let path = settings.authoritySocket
        let routes = settings.domains == nil ? RouteDirectory(path: path, on: loop, logger: logger) : nil
        self.routes = routes
        watch = routes.map { routes in
            DirectoryWatch(path: path, on: loop, logger: logger) {
                routes.learn($0.routes)
                queue.learn(domains: $0.domains)
                queue.lookAtAccounts()
            }
        }
        submissions = BusServer(
            group: loop,
            connections: 2000,
            perUser: settings.connectionsPerUser,
            exempt: settings.trusted,
            idleTimeout: settings.localIdleTimeout,
            logger: logger
        )
        control = BusServer(
            group: loop,
            connections: 100,
            perUser: 20,
            exempt: settings.administrators,
            idleTimeout: settings.localIdleTimeout,
            logger: logger
        )
        self.loop = loop
        self.logger = logger
    }

    /// Begins what is due, for tests that move their clock.
    package func runDueWork() async { try? await loop.submit { [queue] in queue.runDueWork() }.get() }

    /// Serves the sockets, and finds the messages that are in the spool.
    ///
    /// - Parameters:
    ///   - queueSocket: a listening descriptor for run/queue.sock; likewise `controlSocket`.
    package func start(queueSocket: CInt, controlSocket: CInt) async throws {
        let (queue, routes, loop, logger) = (queue, routes, loop, logger)
        try await loop.submit {
            queue.start(
                routes: routes,
                pipe: { SocketLink(path: queue.settings.pipeSocket, on: loop, logger: logger, onReturn: $0) }
            ) { isLocal, onReturn in
                let path = isLocal ? queue.settings.deliverSocket : queue.settings.relaySocket
                return SocketLink(path: path, on: loop, logger: logger, onReturn: onReturn)
            }
        }.get()
        watch?.start()
        try await submissions.accept(on: queueSocket) { connection in
            var session = SubmissionSession(connection, queue)
            await session.run()
        }
        let session = ControlSession(queue: queue)
        try await control.answer(on: controlSocket) { frame, connection in
            try await session.answer(frame, on: connection)
        }
        let recovery = QueueRecovery(queue: queue) { count in
            logger.info("spool read", metadata: ["messages": "\(count)"])
        }
        loop.execute { recovery.start() }
    }

    /// Takes nothing more, lets what was begun come to its end, and closes the spool.
    package func shutDown(grace: TimeAmount) async {
        await submissions.shutDown(grace: grace)
        await control.shutDown(grace: grace)
        try? await loop.submit { [queue, watch] in
            watch?.close()
            queue.close()
        }.get()
        await spool.close()
    }
}
