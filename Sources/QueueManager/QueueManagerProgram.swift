import Daemon
import Logging
import NIOCore
import NIOPosix
import Spool

#if canImport(Glibc)
import Glibc
#endif

/// The daemon `queue-manager`.
package struct QueueManagerProgram: DaemonProgram {
    /// What needs the rights that the process was started with.
    package struct Prepared: Sendable {
        let queueSocket: CInt
        let controlSocket: CInt
        let settings: QueueSettings
    }

    /// The group whose members may look at the queue.
    private static let readers = "martlet"
    /// How long connections may go on once the supervisor asked for the end.
    private static let grace = TimeAmount.seconds(5)

    /// Makes the program.
    package init() {}

    package var name: DaemonName { .queueManager }

    package func prepare(_ setup: Setup) throws -> Prepared {
        umask(0o077)
        var settings = QueueSettings(setup.configuration)
        settings.trusted.formUnion(setup.uids(of: [.smtpd, .localDeliver, .remoteRelay, .reportd, .queueManager]))
        settings.administrators.formUnion(setup.uids(of: [.queueManager]))
        settings.readers = getgrnam(Self.readers)?.pointee.gr_gid
        let prepared = Prepared(
            queueSocket: try setup.listen(unix: "run/queue.sock"),
            controlSocket: try setup.listen(unix: "run/control.sock"),
            settings: settings
        )
        setup.rights.allowWriting(beneath: try setup.directory("spool"))
        return prepared
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let queue = context.configuration.queueManager
        var options = Spool.Options()
        options.journalSegment = queue.journalSegment
        options.reserve = queue.reserve
        let logger = context.logger
        let manager = try QueueManager(
            settings: prepared.settings,
            spool: "spool",
            options: options,
            loop: context.group.next(),
            logger: logger,
            onFailure: { error in
                // Started again, it finds out from the journal what is safe.
                logger.critical("the journal failed", metadata: ["reason": "\(error)"])
                exit(DaemonExit.temporary.rawValue)
            }
        )
        try await manager.start(queueSocket: prepared.queueSocket, controlSocket: prepared.controlSocket)
        context.announceReadiness()
        await context.untilShutdown()
        await manager.shutDown(grace: Self.grace)
        // The process ends: to free a million messages one by one would only keep its successor waiting.
        _ = Unmanaged.passRetained(manager)
    }
}
