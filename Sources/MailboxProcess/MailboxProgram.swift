import Daemon
import Mailbox
import NIOCore
import Network

/// A daemon that serves sessions after the login: it opens the mail directory, then takes over what its front hands it.
package protocol MailboxProgram: DaemonProgram where Prepared == PreparedMailboxes {
    associatedtype Service: MailboxService

    /// Its socket in `run/`.
    var socket: String { get }
    /// Who hands over logins.
    var front: DaemonName { get }

    func settings(_ configuration: Configuration) -> MailboxServerSettings

    /// Threads that may wait for the disk at once.
    func diskThreads(_ configuration: Configuration) -> Int

    /// How long sessions may go on when the daemon is asked to end.
    func shutdownGrace(_ configuration: Configuration) -> TimeAmount

    /// What the users are served.
    func service(_ context: DaemonContext, pool: BlockingPool) -> Service
}

/// What a mailbox process opens with rights.
package struct PreparedMailboxes: Sendable {
    let socket: CInt
    let directory: MailDirectory
    let fronts: Set<UInt32>
}

extension MailboxProgram {
    package func prepare(_ setup: Setup) throws -> Prepared {
        let path = setup.configuration.localDeliver.mailDirectory
        let directory: MailDirectory
        do throws(MailboxError) {
            directory = try MailDirectory(path)
        } catch {
            throw SetupError(reason: "\(path): \(error)", code: .temporary)
        }
        setup.rights.allowWriting(beneath: directory.descriptor)
        return PreparedMailboxes(
            socket: try setup.listen(unix: "run/\(socket)"),
            directory: directory,
            fronts: setup.uids(of: [front])
        )
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        var settings = settings(context.configuration)
        settings.authoritySocket = context.socket("auth.sock")
        settings.fronts = prepared.fronts
        let pool = BlockingPool(threads: diskThreads(context.configuration))
        let server = MailboxServer(
            service(context, pool: pool),
            settings: settings,
            directory: prepared.directory,
            pool: pool,
            group: context.group,
            logger: context.logger
        )
        try await server.start(on: prepared.socket)
        context.announceReadiness()
        await context.untilShutdown()
        await server.shutDown(grace: shutdownGrace(context.configuration))
    }
}
