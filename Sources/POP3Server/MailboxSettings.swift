import Daemon
import NIOCore

/// The settings of sessions after login.
package struct MailboxSettings: Sendable {
    /// Client errors before it is disconnected.
    package var maximumErrors = 10
    /// After so long without a command the session ends and nothing is deleted. RFC 1939 §3 wants at least 10 minutes.
    package var idleTimeout = TimeAmount.minutes(10)

    package init() {}

    init(_ configuration: Configuration) {
        maximumErrors = configuration.pop3d.maximumErrors
        idleTimeout = configuration.pop3d.idleTimeout
    }
}
