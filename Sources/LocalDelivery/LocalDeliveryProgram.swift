import Accounts
import Bus
import Daemon
import Mailbox
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// local-deliver: puts mail into mailboxes.
package struct LocalDeliveryProgram: DaemonProgram {
    package struct Prepared: Sendable {
        let socket: CInt
        let queue: CInt
        let mail: MailDirectory
        let allowed: Set<UInt32>
    }

    package let name = DaemonName.localDeliver

    package init() {}

    package func prepare(_ setup: Setup) throws -> Prepared {
        let queue = try setup.directory("spool/queue")
        setup.rights.allowReading(beneath: queue, listing: false)
        let mail = try MailDirectory(setup.configuration.localDeliver.mailDirectory)
        setup.rights.allowWriting(beneath: mail.descriptor)
        return Prepared(
            socket: try setup.listen(unix: "run/deliver.sock"),
            queue: queue,
            mail: mail,
            allowed: setup.uids(of: [.queueManager])
        )
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        guard getuid() != 0 else {
            throw SetupError(reason: "mail is never delivered with root's rights", code: .permanent)
        }
        let settings = context.configuration.localDeliver
        let loop = context.group.next()
        let pool = NIOThreadPool(numberOfThreads: settings.threads)
        pool.start()
        let mboxPool = NIOThreadPool(numberOfThreads: settings.threads)
        mboxPool.start()
        let accounts = AccountsClient(path: context.socket("auth.sock"), on: loop)
        let service = DeliveryService(
            expansions: ExpansionCache(accounts: accounts, lifetime: settings.expansionTime),
            batcher: DeliveryBatcher(
                deliverer: MailDeliverer(prepared.mail),
                pool: pool,
                mboxPool: mboxPool,
                loop: loop,
                maximumBatch: settings.batch
            ),
            forwarder: Forwarder(path: context.socket("queue.sock"), pool: pool, loop: loop),
            pool: pool,
            queue: prepared.queue,
            usesExtensionFolders: settings.extensionFolders,
            logger: context.logger
        )
        let server = BusServer(group: context.group, allowed: prepared.allowed, logger: context.logger)
        try await server.answer(on: prepared.socket) { frame, connection in service.answer(frame, connection) }
        context.announceReadiness()
        await context.untilShutdown()
        await server.shutDown(grace: .seconds(5))
    }
}
