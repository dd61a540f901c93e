import Accounts
import Daemon
import Deliverer
import Logging
import Mailbox
import NIOCore
import NIOPosix
import Network
import Rewriting
import Submission

#if canImport(Glibc)
import Glibc
#endif

/// local-deliver: puts mail into mailboxes.
package struct LocalDeliveryProgram: DaemonProgram {
    package struct Prepared: Sendable {
        let socket: CInt
        let mail: MailDirectory
        let allowed: Set<UInt32>
        let rewriting: ForwardedSender?
    }

    package let name = DaemonName.localDeliver

    package init() {}

    package func prepare(_ setup: Setup) throws -> Prepared {
        let mail = try MailDirectory(setup.configuration.localDeliver.mailDirectory)
        setup.rights.allowWriting(beneath: mail.descriptor)
        let srs = setup.configuration.srs
        return Prepared(
            socket: try setup.listen(unix: "run/deliver.sock"),
            mail: mail,
            allowed: setup.uids(of: [.queueManager]),
            rewriting: try srs.domain.map {
                try ForwardedSender(domain: $0, secrets: try setup.secret(srs.secrets, key: "srs.secrets"))
            }
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
        let accounts = AccountsClient(path: context.socket("auth.sock"), on: loop)
        let expansions = ExpansionCache(accounts: accounts, on: loop, lifetime: settings.expansionTime)
        let forwarder = Forwarder(
            SubmissionClient(path: context.socket("queue.sock"), on: loop, timeout: .minutes(2)),
            variesOwners: settings.variableListSenders,
            rewriting: prepared.rewriting
        )
        let watch = DirectoryWatch(path: context.socket("auth.sock"), on: loop) { state in
            expansions.forget()
            forwarder.know(domains: state.domains)
        }
        watch.start()
        let service = DeliveryService(
            expansions: expansions,
            fullMailboxes: FullMailboxReports(accounts, on: loop),
            batcher: DeliveryBatcher(
                deliverer: MailDeliverer(prepared.mail),
                pool: pool,
                slowPool: BlockingPool(threads: settings.threads),
                loop: loop,
                maximumBatch: settings.batch
            ),
            forwarder: forwarder,
            usesExtensionFolders: settings.extensionFolders,
            hostname: context.configuration.hostname
        )
        let server = DeliveryServer(
            group: loop,
            allowed: prepared.allowed,
            settings: .init(event: "delivery", successCounter: "delivered"),
            logger: context.logger
        ) { await service.work(on: $0) }
        try await server.accept(on: prepared.socket)
        context.announceReadiness()
        await context.untilShutdown()
        watch.close()
        await server.shutDown(grace: .seconds(5))
    }
}
