import Accounts
import Daemon
import MailboxProcess
import NIOCore
import Network

/// pop3d after login.
package struct POP3MailboxProgram: MailboxProgram {
    static let socketName = "pop3.sock"

    package let name = DaemonName.pop3dMailbox
    package let socket = socketName
    package let front = DaemonName.pop3d

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.pop3d.threads }

    package func settings(_ configuration: Configuration) -> MailboxServerSettings {
        var settings = MailboxServerSettings(login: .pop3)
        settings.maximumSessions = configuration.pop3d.maximumConnections
        return settings
    }

    package func diskThreads(_ configuration: Configuration) -> Int { configuration.pop3d.mailboxThreads }

    package func shutdownGrace(_ configuration: Configuration) -> TimeAmount { configuration.pop3d.shutdownGrace }

    package func service(_ context: DaemonContext, pool: BlockingPool) -> POP3MailboxService {
        POP3MailboxService(settings: MailboxSettings(context.configuration), pool: pool, logger: context.logger)
    }
}
