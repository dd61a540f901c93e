import Daemon
import NIOCore

/// How the mailbox process treats its sessions.
package struct MailboxSettings: Sendable {
    /// Faults of a client before it is dropped.
    package var maximumErrors = 10
    /// After so long without a command the session ends and nothing is deleted. RFC 1939 §3 wants at least 10 minutes.
    package var idleTimeout = TimeAmount.minutes(10)

    package init() {}

    init(_ configuration: Configuration) {
        maximumErrors = configuration.pop3d.maximumErrors
        idleTimeout = configuration.pop3d.idleTimeout
    }
}
