import IMAP
import Daemon
import MIME
import Mailbox
import NIOCore

/// imapd's mailbox process as a daemon: what follows a login, with a right to the mail directory alone.
package struct IMAPDMailboxProgram: DaemonProgram {
    package let name = DaemonName.imapdMailbox

    /// What was opened with rights.
    package struct Prepared: Sendable {
        let socket: CInt
        let mail: MailDirectory
        let fronts: Set<UInt32>
    }

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.imapd.threads }

    package func prepare(_ setup: Setup) throws -> Prepared {
        // SEARCH decodes text; the tables of its character sets can't be opened later.
        Charset.preload()
        let mail = try MailDirectory(setup.configuration.localDeliver.mailDirectory)
        setup.rights.allowWriting(beneath: mail.descriptor)
        return Prepared(
            socket: try setup.listen(unix: "run/imap.sock"),
            mail: mail,
            fronts: setup.uids(of: [.imapd])
        )
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let configuration = context.configuration.imapd
        var settings = MailboxSettings()
        settings.authoritySocket = context.socket("auth.sock")
        settings.mailDirectory = context.configuration.localDeliver.mailDirectory
        settings.commands.command = configuration.maximumCommand
        settings.commands.message = configuration.maximumMessage
        settings.maximumErrors = configuration.maximumErrors
        settings.idleTimeout = configuration.idleTimeout
        settings.pollInterval = configuration.pollInterval
        let service = MailboxService(
            settings: settings,
            mail: prepared.mail,
            allowed: prepared.fronts,
            connections: configuration.maximumConnections,
            group: context.group,
            logger: context.logger
        )
        try await service.start(on: prepared.socket)
        context.announceReadiness()
        await context.untilShutdown()
        await service.shutDown(grace: configuration.shutdownGrace)
    }
}
