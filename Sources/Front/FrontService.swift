import NIOCore
import Network

/// What a listening socket is for.
package protocol ListenerRole: Hashable, Sendable {
    /// Whether TLS comes with the first octet (RFC 8314), not by STARTTLS or STLS.
    var isEncrypted: Bool { get }
    /// Whether those who come here come to log in.
    var isForUsers: Bool { get }
}

extension ListenerRole {
    package var isForUsers: Bool { true }
}

/// What SMTP, POP3 and IMAP do differently with a stranger.
package protocol FrontService: Sendable {
    associatedtype Role: ListenerRole

    var front: FrontSettings { get }

    /// What of it is different for those who come for this.
    func front(of role: Role) -> FrontSettings

    /// How long clients stay.
    var sessions: Listener.Sessions { get }

    /// Networks of proxies, which say by the PROXY protocol who their clients are; nobody else may connect. nil where clients
    /// come themselves.
    func proxies(of role: Role) -> [AddressRange]?

    /// The reply to a client over a limit, in place of a greeting.
    func refusal(_ reason: Listener.Refusal) -> ByteBuffer

    /// Serves one client, from the greeting on; where the role says so, TLS is on already. The connection is closed
    /// when it returns.
    func serve(_ client: FrontClient, as role: Role) async
}

extension FrontService {
    package func front(of role: Role) -> FrontSettings { front }
    package func proxies(of role: Role) -> [AddressRange]? { nil }
}

/// A socket that listens, and what for.
package struct FrontEndpoint<Role: ListenerRole>: Sendable {
    package let role: Role
    package let socket: CInt

    /// A socket on which `listen` was called.
    package init(_ role: Role, socket: CInt) {
        self.role = role
        self.socket = socket
    }
}
