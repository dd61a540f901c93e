import Daemon
import IMAP
import NIOCore

/// The settings of sessions after login.
package struct MailboxSettings: Sendable {
    /// Where folders are watched; the directory itself was opened before rights were given up.
    package var mailDirectory = "mail"
    package var commands = CommandLimits()
    package var capabilities = Capabilities()
    /// Whether what was worked out of messages is kept in a file of the account.
    package var keepsIndex = true
    /// Whether texts are, for searches.
    package var indexesText = true
    /// What SORT and THREAD of all sessions may take in memory together. Octets.
    package var sortMemory = 512 * 1024 * 1024
    /// Bad commands before the client is disconnected.
    package var maximumErrors = 20
    /// How long a client may be silent (RFC 3501 §5.4: at least 30 minutes).
    package var idleTimeout = TimeAmount.minutes(30)
    /// How often a selected folder is polled in IDLE where inotify reports nothing.
    package var pollInterval = TimeAmount.seconds(30)

    package init() {}

    init(_ configuration: Configuration) {
        let imapd = configuration.imapd
        mailDirectory = configuration.localDeliver.mailDirectory
        commands.command = imapd.maximumCommand
        commands.message = imapd.maximumMessage
        capabilities = Capabilities(imapd)
        keepsIndex = imapd.index
        indexesText = imapd.fullTextIndex
        maximumErrors = imapd.maximumErrors
        idleTimeout = imapd.idleTimeout
        pollInterval = imapd.pollInterval
    }
}

extension Capabilities {
    /// Of the front and of the mailbox process alike.
    init(_ imapd: IMAPDConfiguration) {
        self.init(disabled: imapd.disabledCapabilities, messagesPerCommand: imapd.messagesPerCommand)
    }
}
