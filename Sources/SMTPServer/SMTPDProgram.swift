import Daemon
import Network
import MIME
import NIOCore
import TLS

/// smtpd as a daemon: binds its ports and loads its key, then serves without a right to any file.
package struct SMTPDProgram: DaemonProgram {
    package let name = DaemonName.smtpd

    /// What was opened with rights.
    package struct Prepared: Sendable {
        let endpoints: [ListeningEndpoint]
        let tlsContext: TLSContext
    }

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.smtpd.threads }

    package func prepare(_ setup: Setup) throws -> Prepared {
        DateTime.loadTimeZone()
        let configuration = setup.configuration.smtpd
        var endpoints: [ListeningEndpoint] = []
        for (kind, addresses) in [
            (ListenerKind.smtp, configuration.smtp), (.submission, configuration.submission),
            (.submissions, configuration.submissions),
        ] {
            endpoints += try setup.listen(addresses).map { ListeningEndpoint(kind, socket: $0) }
        }
        setup.rights.root = "run"
        return Prepared(endpoints: endpoints, tlsContext: try setup.serverTLS())
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let configuration = context.configuration.smtpd
        var settings = ServerSettings(context.configuration)
        settings.queueSocket = context.socket("queue.sock")
        settings.authoritySocket = context.socket("auth.sock")
        let service = SMTPService(
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

extension ServerSettings {
    init(_ configuration: Configuration) {
        let smtpd = configuration.smtpd
        self.init(
            hostname: configuration.hostname,
            postmasterDomain: configuration.domains.first ?? configuration.hostname
        )
        relayFrom = smtpd.relayFrom
        enforcesSender = smtpd.enforceSender
        recipientCache = smtpd.recipientCache
        limits.message = smtpd.maximumMessage
        limits.recipients = smtpd.maximumRecipients
        limits.hops = smtpd.maximumHops
        limits.textLine = smtpd.maximumLine
        limits.errors = smtpd.maximumErrors
        limits.errorDelay = smtpd.errorDelay
        limits.idle = smtpd.idleTimeout
        limits.session = smtpd.sessionTimeout
        limits.greetingDelay = smtpd.greetingDelay
    }
}
