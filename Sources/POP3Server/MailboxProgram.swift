import Daemon
import Mailbox
import NIOCore
import NIOPosix

/// pop3d after login: opens the mail directory, then serves the sessions that the front hands over.
package struct MailboxProgram: DaemonProgram {
    package let name = DaemonName.pop3dMailbox

    /// What was opened with rights.
    package struct Prepared: Sendable {
        let socket: CInt
        let directory: MailDirectory
        let fronts: Set<UInt32>
    }

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.pop3d.threads }

    package func prepare(_ setup: Setup) throws -> Prepared {
        let path = setup.configuration.localDeliver.mailDirectory
        let directory: MailDirectory
        do {
            directory = try MailDirectory(path)
        } catch {
            throw SetupError(reason: "\(path): \(error)", code: .temporary)
        }
        setup.rights.allowWriting(beneath: directory.descriptor)
        return Prepared(
            socket: try setup.listen(unix: "run/pop3.sock"),
            directory: directory,
            fronts: setup.uids(of: [.pop3d])
        )
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let configuration = context.configuration.pop3d
        var settings = MailboxSettings(context.configuration)
        settings.authoritySocket = context.socket("auth.sock")
        settings.fronts = prepared.fronts
        let pool = NIOThreadPool(numberOfThreads: configuration.mailboxThreads)
        pool.start()
        let service = MailboxService(
            settings: settings,
            directory: prepared.directory,
            pool: pool,
            group: context.group,
            logger: context.logger
        )
        try await service.start(on: prepared.socket)
        context.announceReadiness()
        await context.untilShutdown()
        await service.shutDown(grace: configuration.shutdownGrace)
    }
}
