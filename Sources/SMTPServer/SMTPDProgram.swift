import Daemon
import Front
import MIME
import NIOCore
import Network

/// smtpd as a daemon.
package struct SMTPDProgram: FrontProgram {
    package let name = DaemonName.smtpd

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.smtpd.threads }

    package func prepare(_ setup: Setup) throws -> Prepared {
        DateTime.loadTimeZone()
        return try prepareFront(setup)
    }

    package func addresses(_ configuration: Configuration) -> [(role: ListenerKind, addresses: [SocketAddress])] {
        [
            (.smtp, configuration.smtpd.smtp), (.submission, configuration.smtpd.submission),
            (.submissions, configuration.smtpd.submissions),
        ]
    }

    package func asksForCertificate(_ configuration: Configuration) -> Bool { configuration.smtpd.clientCertificates }

    package func shutdownGrace(_ configuration: Configuration) -> TimeAmount { configuration.smtpd.shutdownGrace }

    package func service(_ context: DaemonContext) -> SMTPFront {
        var settings = ServerSettings(context.configuration)
        settings.queueSocket = context.socket("queue.sock")
        settings.front.authoritySocket = context.socket("auth.sock")
        return SMTPFront(settings)
    }
}

extension ServerSettings {
    init(_ configuration: Configuration) {
        let smtpd = configuration.smtpd
        self.init(hostname: configuration.hostname)
        front = FrontSettings(configuration)
        relayFrom = smtpd.relayFrom
        enforcesSender = smtpd.enforceSender
        recipientCache = smtpd.recipientCache
        limits.message = smtpd.maximumMessage
        limits.recipients = smtpd.maximumRecipients
        limits.hops = smtpd.maximumHops
        limits.textLine = smtpd.maximumLine
        limits.greetingDelay = smtpd.greetingDelay
        front.connections = Listener.Limits(
            connections: smtpd.maximumConnections,
            perClient: smtpd.maximumConnectionsPerClient
        )
        front.maximumErrors = smtpd.maximumErrors
        front.errorDelay = smtpd.errorDelay
        front.idleTimeout = smtpd.idleTimeout
        front.sessionTimeout = smtpd.sessionTimeout
    }
}
