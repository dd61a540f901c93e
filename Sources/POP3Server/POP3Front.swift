import Front
import NIOCore
import Network
import POP3

/// The kinds of listening sockets.
package enum POP3Listener: ListenerRole, CaseIterable {
    /// With STLS (RFC 2595).
    case pop3
    /// With TLS from the first octet (RFC 8314).
    case pop3s

    package var isEncrypted: Bool { self == .pop3s }
}

/// pop3d before login.
package struct POP3Front: FrontService {
    package let front: FrontSettings
    package var sessions: Listener.Sessions { .long }
    let handover: LoginHandover

    /// - Parameter mailboxSocket: the path of the mailbox process's socket.
    package init(_ settings: FrontSettings, mailboxSocket: String) {
        front = settings
        handover = LoginHandover(path: mailboxSocket, timeout: settings.authorityTimeout)
    }

    package func refusal(_ reason: Listener.Refusal) -> ByteBuffer {
        var reply = ByteBuffer()
        reply.writeError(.temporary, "too many connections, try again later")
        return reply
    }

    package func serve(_ client: FrontClient, as role: POP3Listener) async {
        await FrontSession(client, handover: handover).run()
    }
}

/// The longest lines that the two processes accept.
enum LineLimit {
    /// A command without its end. Octets. RFC 2449 §4 allows 255.
    static let command = 1024
    /// A SASL response in base64. Octets.
    static let response = 12_288
}
