import Accounts
import CoreMetrics
import Logging
import NIOCore
import Network
import TLS

/// A stranger's connection and what is known about it, whatever the protocol. Belongs to the connection's event
/// loop.
package final class FrontClient {
    package let connection: Connection
    /// The client's address; nil for Unix-domain sockets. Not always the connection's: a proxy may stand between.
    package private(set) var remoteAddress: SocketAddress?
    /// The address that the client has connected to, likewise.
    package private(set) var localAddress: SocketAddress?
    /// The client's address as text, for logs, for authd and for whoever the session is handed to.
    package private(set) var address: String
    package let settings: FrontSettings
    package let logger: Logger
    let authority: LoopAuthority
    let counters: FrontCounters
    private let offersTLS: Bool
    private let tlsContext: TLSContext?
    private var errors = 0

    init(
        _ connection: Connection,
        offersTLS: Bool,
        settings: FrontSettings,
        tlsContext: TLSContext?,
        authority: LoopAuthority,
        counters: FrontCounters,
        logger: Logger
    ) {
        self.connection = connection
        self.offersTLS = offersTLS
        self.settings = settings
        self.tlsContext = tlsContext
        self.authority = authority
        self.counters = counters
        self.logger = logger
        remoteAddress = connection.remoteAddress
        localAddress = connection.localAddress
        address = Self.text(connection)
    }

    /// A proxy that is trusted says who the client is.
    ///
    /// - Parameter local: what the client has connected to; nil where the proxy doesn't know.
    package func isReally(_ remote: SocketAddress, at local: SocketAddress?) {
        remoteAddress = remote
        if let local { localAddress = local }
        address = remote.hostText ?? "local"
    }

    static func text(_ connection: Connection) -> String { connection.remoteAddress?.hostText ?? "local" }

    // MARK: TLS

    /// Whether the client may ask for TLS now.
    package var mayStartTLS: Bool { offersTLS && tlsContext != nil && connection.tls == nil }

    /// Why the client may not ask for TLS.
    package var tlsRefusal: String { connection.tls == nil ? "TLS is not available" : "TLS is already active" }

    /// Whether a password may be sent now: only where nobody on the way can read it.
    package var mayLogIn: Bool {
        connection.tls != nil
            || (settings.allowsPlaintextOnLoopback && remoteAddress?.isLoopback == true)
    }

    /// Sends the reply and becomes the server's side of TLS. What came behind the client's command is discarded: anybody
    /// on the way may have sent it (RFC 3207 §6). Only where `mayStartTLS`.
    package func startTLS(reply: ByteBuffer) async throws(ConnectionError) { try await beginTLS(reply: reply) }

    /// - Parameter isBegun: what was received belongs to the handshake.
    func beginTLS(reply: ByteBuffer?, isBegun: Bool = false) async throws(ConnectionError) {
        guard let tlsContext else { throw .tls("there is no certificate") }
        try await connection.startTLS(server: tlsContext, reply: reply, isBegun: isBegun)
        counters.tlsHandshakes.increment()
    }

    // MARK: Faults

    /// Counts a client error, and delays the client where there were many: sends what was written before, then waits.
    ///
    /// - Returns: how many more are allowed. After the last one POP3 and IMAP answer and close; SMTP waits for one more,
    ///   and answers that with 421.
    package func countFault() async throws(ConnectionError) -> Int {
        counters.faults.increment()
        errors += 1
        let excess = errors - settings.maximumErrors / 2
        if excess > 0, settings.errorDelay > .zero {
            try await connection.flush()
            await connection.eventLoop.pause(settings.errorDelay * min(excess, 10))
        }
        return settings.maximumErrors - errors
    }

    /// Logs that the client is disconnected for its errors.
    package func logTooManyFaults() { logger.info("too many errors", metadata: ["client": "\(address)"]) }

    /// Enforces the deadline on a client that never pauses, for which no wait of the connection would.
    package func checkTime() throws(ConnectionError) {
        if let deadline = connection.deadline, deadline <= .now() { throw .timedOut }
    }

    // MARK: The end

    /// Logs why the connection ended where the client can't be told.
    package func logEnd(_ reason: ConnectionError) {
        logger.debug("connection lost", metadata: ["client": "\(address)", "reason": "\(reason)"])
    }
}
