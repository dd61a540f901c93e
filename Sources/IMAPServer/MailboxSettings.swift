import Daemon
import IMAP
import Mailbox
import NIOCore

/// The settings of sessions after login.
package struct MailboxSettings: Sendable {
    /// Where folders are watched; the directory itself was opened before rights were given up.
    package var mailDirectory = "mail"
    /// The path of authd's socket, for the mailboxes of others.
    package var authoritySocket = "run/auth.sock"
    /// What stands in front of the names of other users' folders, and of those for all.
    package var namespaces = NamespaceNames()
    /// Where the folders for all are.
    package var publicFolders: MailboxLocation?
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
        namespaces = NamespaceNames(imapd)
        publicFolders = imapd.publicFolders.flatMap { MailboxLocation(path: $0, format: .maildir) }
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
        self.init(
            disabled: imapd.disabledCapabilities,
            messagesPerCommand: imapd.messagesPerCommand,
            sharesFolders: !NamespaceNames(imapd).isEmpty
        )
    }
}

extension NamespaceNames {
    fileprivate init(_ imapd: IMAPDConfiguration) {
        self.init(
            others: imapd.othersPrefix,
            shared: imapd.publicFolders == nil ? nil : imapd.publicPrefix
        )
    }
}
