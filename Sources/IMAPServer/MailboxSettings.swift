import Daemon
import IMAP
import NIOCore

/// How the mailbox process treats its sessions.
package struct MailboxSettings: Sendable {
    /// Where folders are watched; the directory itself was opened before rights were given up.
    package var mailDirectory = "mail"
    package var commands = CommandLimits()
    /// Commands that make no sense before the client is sent away.
    package var maximumErrors = 20
    /// Silence of the client (RFC 3501 §5.4: at least 30 minutes).
    package var idleTimeout = TimeAmount.minutes(30)
    /// How often a selected folder is looked at in IDLE where the kernel reports nothing.
    package var pollInterval = TimeAmount.seconds(30)

    package init() {}

    init(_ configuration: Configuration) {
        let imapd = configuration.imapd
        mailDirectory = configuration.localDeliver.mailDirectory
        commands.command = imapd.maximumCommand
        commands.message = imapd.maximumMessage
        maximumErrors = imapd.maximumErrors
        idleTimeout = imapd.idleTimeout
        pollInterval = imapd.pollInterval
    }
}
