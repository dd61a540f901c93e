import NIOCore

/// `[smtpd]`
package struct SMTPDConfiguration: Sendable {
    /// Where the MTA listens (port 25 by its standard name).
    package var smtp: [SocketAddress]
    /// Where the MSA listens (587).
    package var submission: [SocketAddress]
    /// Where the MSA listens with TLS from the first octet on (465).
    package var submissions: [SocketAddress]
    /// Event loops; 0 for one a core.
    package var threads: Int
    /// Octets.
    package var maximumMessage: Int
    package var maximumRecipients: Int
    package var maximumConnections: Int
    package var maximumConnectionsPerClient: Int
    package var maximumErrors: Int
    package var idleTimeout: TimeAmount
    package var sessionTimeout: TimeAmount
    /// Networks that may relay without authentication.
    package var relayFrom: [String]

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        smtp = try table.addresses("smtp")
        submission = try table.addresses("submission")
        submissions = try table.addresses("submissions")
        threads = try table.integer("threads", default: 0, in: 0...256)
        maximumMessage = try table.octets("maximum-message", default: 50 << 20)
        maximumRecipients = try table.integer("maximum-recipients", default: 1000, in: 1...20_000)
        maximumConnections = try table.integer("maximum-connections", default: 1000, in: 1...1_000_000)
        maximumConnectionsPerClient = try table.integer(
            "maximum-connections-per-client",
            default: 100,
            in: 1...1_000_000
        )
        maximumErrors = try table.integer("maximum-errors", default: 20, in: 1...1000)
        idleTimeout = try table.duration("idle-timeout", default: .minutes(5))
        sessionTimeout = try table.duration("session-timeout", default: .hours(1))
        relayFrom = try table.strings("relay-from")
    }
}
