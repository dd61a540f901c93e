import Daemon
import NIOCore
import Network
import TLS

/// pop3d before login: binds its ports and loads its key, then serves without a right to any file.
package struct FrontProgram: DaemonProgram {
    package let name = DaemonName.pop3d

    /// What was opened with rights.
    package struct Prepared: Sendable {
        let endpoints: [FrontService.Endpoint]
        let tlsContext: TLSContext
    }

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.pop3d.threads }

    package func prepare(_ setup: Setup) throws -> Prepared {
        let configuration = setup.configuration.pop3d
        var endpoints = try setup.listen(configuration.pop3).map {
            FrontService.Endpoint(socket: $0, isEncrypted: false)
        }
        endpoints += try setup.listen(configuration.pop3s).map { FrontService.Endpoint(socket: $0, isEncrypted: true) }
        setup.rights.root = "run"
        return Prepared(endpoints: endpoints, tlsContext: try setup.serverTLS())
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let configuration = context.configuration.pop3d
        var settings = FrontSettings(context.configuration)
        settings.authoritySocket = context.socket("auth.sock")
        settings.mailboxSocket = context.socket("pop3.sock")
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
