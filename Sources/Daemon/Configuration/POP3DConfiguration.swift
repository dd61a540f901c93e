import NIOCore

/// `[pop3d]`
package struct POP3DConfiguration: Sendable {
    /// Where clients connect, with TLS by STLS (port 110 by its standard name).
    package var pop3: [SocketAddress]
    /// The same with TLS from the first octet on (995).
    package var pop3s: [SocketAddress]
    /// Event loops of each of the two processes; 0 for one a core.
    package var threads: Int
    /// Threads of the mailbox process that wait for the disk.
    package var mailboxThreads: Int
    package var maximumConnections: Int
    package var maximumConnectionsPerClient: Int
    /// Faults of a client before it is dropped; a failed login is one.
    package var maximumErrors: Int
    /// What each fault beyond half of `maximumErrors` adds to the delay of its reply.
    package var errorDelay: TimeAmount
    /// After so long without a command the session ends and nothing is deleted. RFC 1939 §3 wants at least 10 minutes.
    package var idleTimeout: TimeAmount
    /// A client must have logged in after so long.
    package var loginTimeout: TimeAmount
    /// Whether clients on this machine may log in without TLS.
    package var plaintextOnLoopback: Bool
    /// How long sessions may go on when the daemon is asked to end.
    package var shutdownGrace: TimeAmount
    /// Whether clients are asked for a TLS certificate.
    package var clientCertificates: Bool

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        pop3 = try table.addresses("pop3")
        pop3s = try table.addresses("pop3s")
        threads = try table.integer("threads", default: 0, in: 0...256)
        mailboxThreads = try table.integer("mailbox-threads", default: 4, in: 1...64)
        maximumConnections = try table.integer("maximum-connections", default: 2000, in: 1...1_000_000)
        maximumConnectionsPerClient = try table.integer(
            "maximum-connections-per-client",
            default: 50,
            in: 1...1_000_000
        )
        maximumErrors = try table.integer("maximum-errors", default: 10, in: 1...1000)
        errorDelay = try table.duration("error-delay", default: .milliseconds(200), in: .zero ... .minutes(1))
        idleTimeout = try table.duration("idle-timeout", default: .minutes(10))
        loginTimeout = try table.duration("login-timeout", default: .minutes(3))
        plaintextOnLoopback = try table.boolean("plaintext-on-loopback", default: false)
        clientCertificates = try table.boolean("client-certificates", default: false)
        shutdownGrace = try table.duration("shutdown-grace", default: .seconds(10), in: .zero ... .minutes(10))
    }
}
