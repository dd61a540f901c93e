import IMAP
import NIOCore

/// What the mailbox process was told: checked values, made from the configuration.
package struct MailboxSettings: Sendable {
    package var authoritySocket = "run/auth.sock"
    /// Where folders are watched; the directory itself was opened before rights were given up.
    package var mailDirectory = "mail"
    package var commands = CommandLimits()
    package var maximumErrors = 20
    package var idleTimeout = TimeAmount.minutes(30)
    package var pollInterval = TimeAmount.seconds(30)
    /// Threads that may wait for the disk at once.
    package var diskThreads = 4

    package init() {}
}
