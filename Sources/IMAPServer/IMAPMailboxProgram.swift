import Accounts
import Daemon
import MIME
import MailboxProcess
import NIOCore
import Network

/// imapd after login.
package struct IMAPMailboxProgram: MailboxProgram {
    static let socketName = "imap.sock"

    package let name = DaemonName.imapdMailbox
    package let socket = socketName
    package let front = DaemonName.imapd

    package init() {}

    /// The tables of the character sets that SEARCH decodes.
    package func preload() { Charset.preload() }

    package func threads(_ configuration: Configuration) -> Int { configuration.imapd.threads }

    package func settings(_ configuration: Configuration) -> MailboxServerSettings {
        var settings = MailboxServerSettings(login: .imap)
        settings.maximumSessions = configuration.imapd.maximumConnections
        return settings
    }

    /// An account has two of them at most.
    package func diskThreads(_ configuration: Configuration) -> Int { 8 }

    package func shutdownGrace(_ configuration: Configuration) -> TimeAmount { configuration.imapd.shutdownGrace }

    package func service(_ context: DaemonContext, pool: BlockingPool) -> IMAPMailboxService {
        var settings = MailboxSettings(context.configuration)
        settings.authoritySocket = context.socket("auth.sock")
        return IMAPMailboxService(
            settings: settings,
            pool: pool,
            group: context.group,
            logger: context.logger
        )
    }
}
