import NIOCore
import Network

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
    /// What each fault of a client beyond half of `maximumErrors` adds to the delay of its reply.
    package var errorDelay: TimeAmount
    /// Received fields of a message, ours included; more are a loop.
    package var maximumHops: Int
    /// Octets of a line of a message; 0 for no limit.
    package var maximumLine: Int
    /// How long the greeting is held back to catch clients that talk before it; 0 for no check.
    package var greetingDelay: TimeAmount
    /// How long a positive answer of authd about a recipient is cached.
    package var recipientCache: TimeAmount
    /// How long sessions may go on when the daemon is asked to end.
    package var shutdownGrace: TimeAmount
    /// Whether the reverse-path of a user who logged in must be the user's own address.
    package var enforceSender: Bool
    /// Networks that may relay without authentication.
    package var relayFrom: [AddressRange]
    /// Whether users are asked for a TLS certificate, on submission and submissions.
    package var clientCertificates: Bool

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
        errorDelay = try table.duration("error-delay", default: .milliseconds(200), in: .zero ... .minutes(1))
        maximumHops = try table.integer("maximum-hops", default: 100, in: 1...10_000)
        maximumLine = try table.octets("maximum-line", default: 1 << 20)
        greetingDelay = try table.duration("greeting-delay", default: .zero, in: .zero ... .minutes(1))
        recipientCache = try table.duration("recipient-cache", default: .seconds(2), in: .zero ... .hours(1))
        shutdownGrace = try table.duration("shutdown-grace", default: .seconds(10), in: .zero ... .minutes(10))
        enforceSender = try table.boolean("enforce-sender", default: false)
        clientCertificates = try table.boolean("client-certificates", default: false)
        relayFrom = try Self.blocks(table, "relay-from")
    }

    private static func blocks(_ table: ConfigurationTable, _ key: String) throws(ConfigurationError) -> [AddressRange]
    {
        var blocks: [AddressRange] = []
        for text in try table.strings(key) {
            guard let block = AddressRange(text) else {
                throw table.error(key, "\"\(text)\" is not a block of addresses such as 192.0.2.0/24 or 2001:db8::/32")
            }
            blocks.append(block)
        }
        return blocks
    }
}
