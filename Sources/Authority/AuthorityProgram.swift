import Bus
import Daemon
import NIOCore
import NIOPosix
import Network

#if canImport(Glibc)
import Glibc
#endif

/// authd: the only reader of passwords, users and aliases.
package struct AuthorityProgram: DaemonProgram {
    package struct Prepared: Sendable {
        let socket: CInt
        let access: AuthorityService.Access
    }

    package let name = DaemonName.authd

    package init() {}

    package func prepare(_ setup: Setup) throws -> Prepared {
        let settings = setup.configuration.authd
        // The domains are followed in the configuration itself.
        for directory in Set([settings.users, settings.aliases, setup.configurationFile].map(Self.directory)) {
            setup.rights.allowReading(beneath: try setup.directory(directory), listing: false)
        }
        return Prepared(
            socket: try setup.listen(unix: "run/auth.sock"),
            access: AuthorityService.Access(
                logins: setup.uids(of: [.smtpd, .pop3d, .imapd]),
                mailboxes: setup.uids(of: [.pop3dMailbox, .imapdMailbox]),
                recipients: setup.uids(of: [.smtpd]),
                deliveries: setup.uids(of: [.localDeliver]),
                watchers: setup.uids(of: [.smtpd, .queueManager, .localDeliver])
            )
        )
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let settings = context.configuration.authd
        let loop = context.group.next()
        let pool = NIOThreadPool(numberOfThreads: settings.threads)
        pool.start()
        let verifier = PasswordVerifier(
            pool: pool,
            threads: settings.threads,
            loop: loop,
            maximumWaiting: settings.maximumWaiting,
            throttle: LoginThrottle(first: settings.failureDelay, longest: settings.maximumFailureDelay),
            dummyHash: PasswordHash.make("no account has this") ?? ""
        )
        let service = AuthorityService(
            on: loop,
            files: AccountFiles(
                context.configuration,
                file: context.configurationFile,
                on: loop,
                logger: context.logger
            ),
            verifier: verifier,
            access: prepared.access,
            ownUser: getuid(),
            logger: context.logger
        )
        let server = BusServer(group: loop, logger: context.logger)
        try await server.answer(on: prepared.socket) { frame, connection in service.answer(frame, connection) }
        service.start()
        context.announceReadiness()
        await context.untilShutdown()
        service.stop()
        await server.shutDown(grace: .seconds(2))
    }

    private static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    }
}
