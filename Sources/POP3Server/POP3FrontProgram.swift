import Daemon
import Front
import NIOCore
import Network

/// pop3d before login.
package struct POP3FrontProgram: FrontProgram {
    package let name = DaemonName.pop3d

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.pop3d.threads }

    package func addresses(_ configuration: Configuration) -> [(role: POP3Listener, addresses: [SocketAddress])] {
        [(.pop3, configuration.pop3d.pop3), (.pop3s, configuration.pop3d.pop3s)]
    }

    package var applicationProtocols: [String] { ["pop3"] }

    package func asksForCertificate(_ configuration: Configuration) -> Bool { configuration.pop3d.clientCertificates }

    package func shutdownGrace(_ configuration: Configuration) -> TimeAmount { configuration.pop3d.shutdownGrace }

    package func service(_ context: DaemonContext) -> POP3Front {
        var settings = FrontSettings(pop3: context.configuration)
        settings.authoritySocket = context.socket("auth.sock")
        return POP3Front(settings, mailboxSocket: context.socket(POP3MailboxProgram.socketName))
    }
}

extension FrontSettings {
    init(pop3 configuration: Configuration) {
        let pop3d = configuration.pop3d
        self.init(configuration)
        connections = Listener.Limits(
            connections: pop3d.maximumConnections,
            perClient: pop3d.maximumConnectionsPerClient
        )
        idleTimeout = pop3d.idleTimeout
        sessionTimeout = pop3d.loginTimeout
        maximumErrors = pop3d.maximumErrors
        errorDelay = pop3d.errorDelay
        allowsPlaintextOnLoopback = pop3d.plaintextOnLoopback
    }
}
