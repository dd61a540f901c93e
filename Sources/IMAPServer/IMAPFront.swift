import Front
import IMAP
import NIOCore
import Network

/// The kinds of listening sockets.
package enum IMAPListener: ListenerRole, CaseIterable {
    /// With STARTTLS.
    case imap
    /// With TLS from the first octet (RFC 8314).
    case imaps

    package var isEncrypted: Bool { self == .imaps }
}

/// imapd before login.
package struct IMAPFront: FrontService {
    package let front: FrontSettings
    package var sessions: Listener.Sessions { .long }
    let handover: LoginHandover
    private let messageLimit: Int
    private let capabilities: Capabilities

    /// - Parameters:
    ///   - mailboxSocket: the path of the mailbox process's socket.
    ///   - messageLimit: octets of a message in APPEND, which is announced.
    package init(
        _ settings: FrontSettings,
        mailboxSocket: String,
        capabilities: Capabilities = Capabilities(),
        messageLimit: Int = CommandLimits().message
    ) {
        front = settings
        self.capabilities = capabilities
        self.messageLimit = messageLimit
        handover = LoginHandover(path: mailboxSocket, timeout: settings.authorityTimeout)
    }

    package func refusal(_ reason: Listener.Refusal) -> ByteBuffer {
        var writer = ResponseWriter()
        writer.status(.bye, code: .limit, "too many connections, try again later")
        return writer.buffer
    }

    package func serve(_ client: FrontClient, as role: IMAPListener) async {
        await FrontSession(client, handover: handover, capabilities: capabilities, messageLimit: messageLimit).run()
    }
}
