import Daemon
import Front
import Logging
import NIOCore
import Network

/// imapd before login.
package struct IMAPFrontProgram: FrontProgram {
    package let name = DaemonName.imapd

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.imapd.threads }

    package func addresses(_ configuration: Configuration) -> [(role: IMAPListener, addresses: [SocketAddress])] {
        [(.imap, configuration.imapd.imap), (.imaps, configuration.imapd.imaps)]
    }

    package var applicationProtocols: [String] { ["imap"] }

    package func asksForCertificate(_ configuration: Configuration) -> Bool { configuration.imapd.clientCertificates }

    package func shutdownGrace(_ configuration: Configuration) -> TimeAmount { configuration.imapd.shutdownGrace }

    package func service(_ context: DaemonContext) -> IMAPFront {
        var settings = FrontSettings(imap: context.configuration)
        settings.authoritySocket = context.socket("auth.sock")
        let imapd = context.configuration.imapd
        let unknown = Capabilities.unknown(imapd.disabledCapabilities)
        if !unknown.isEmpty {
            context.logger.warning(
                "disabled-capabilities: these are none that can be cut",
                metadata: ["names": "\(unknown.joined(separator: " "))"]
            )
        }
        return IMAPFront(
            settings,
            mailboxSocket: context.socket(IMAPMailboxProgram.socketName),
            capabilities: Capabilities(imapd),
            messageLimit: imapd.maximumMessage
        )
    }
}

extension FrontSettings {
    init(imap configuration: Configuration) {
        let imapd = configuration.imapd
        self.init(configuration)
        connections = Listener.Limits(
            connections: imapd.maximumConnections,
            perClient: imapd.maximumConnectionsPerClient
        )
        idleTimeout = imapd.loginTimeout
        sessionTimeout = imapd.loginTimeout
        maximumErrors = imapd.maximumErrors
        errorDelay = imapd.errorDelay
        allowsPlaintextOnLoopback = imapd.allowPlaintextOnLoopback
    }
}
