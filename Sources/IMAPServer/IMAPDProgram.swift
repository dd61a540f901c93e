import Daemon
import NIOCore
import Network
import TLS

/// imapd's front as a daemon: binds its ports and loads its key, then serves without a right to any file.
package struct IMAPDProgram: DaemonProgram {
    package let name = DaemonName.imapd

    /// What was opened with rights.
    package struct Prepared: Sendable {
        let endpoints: [IMAPEndpoint]
        let tlsContext: TLSContext
    }

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.imapd.threads }

    package func prepare(_ setup: Setup) throws -> Prepared {
        let configuration = setup.configuration.imapd
        let endpoints =
            try setup.listen(configuration.imap).map { IMAPEndpoint(.imap, socket: $0) }
            + setup.listen(configuration.imaps).map { IMAPEndpoint(.imaps, socket: $0) }
        setup.rights.root = "run"
        return Prepared(endpoints: endpoints, tlsContext: try setup.serverTLS())
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let configuration = context.configuration.imapd
        var settings = FrontSettings(hostname: context.configuration.hostname)
        settings.authoritySocket = context.socket("auth.sock")
        settings.mailboxSocket = context.socket("imap.sock")
        settings.loginTimeout = configuration.loginTimeout
        settings.maximumErrors = configuration.maximumErrors
        settings.allowsPlaintextOnLoopback = configuration.allowPlaintextOnLoopback
        let service = FrontService(
            settings: settings,
            limits: Listener.Limits(
                connections: configuration.maximumConnections,
                perClient: configuration.maximumConnectionsPerClient
            ),
            tlsContext: prepared.tlsContext,
            group: context.group,
            logger: context.logger
        )
        try await service.start(prepared.endpoints)
        context.announceReadiness()
        await context.untilShutdown()
        await service.shutDown(grace: configuration.shutdownGrace)
    }
}
