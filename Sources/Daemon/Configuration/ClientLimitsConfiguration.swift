import Network

/// `[smtpd.clients]`: what strangers may do on `smtp`. 0 for no limit.
package struct ClientLimitsConfiguration: Sendable {
    /// Networks that none of it holds for.
    package var exempt: [AddressRange]
    package var connectionsPerMinute: Int
    package var connectionsPerMinutePerNetwork: Int
    package var messagesPerMinute: Int
    package var messagesPerMinutePerNetwork: Int
    /// Whether a client may send commands before it can know that it may (RFC 2920 §3.1).
    package var mayPipelineEarly: Bool

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        exempt = try SMTPDConfiguration.blocks(table, "exempt", default: ["127.0.0.0/8", "::1"])
        let range = 0...1_000_000
        connectionsPerMinute = try table.integer("connections-per-minute", default: 120, in: range)
        connectionsPerMinutePerNetwork = try table.integer(
            "connections-per-minute-per-network",
            default: 480,
            in: range
        )
        messagesPerMinute = try table.integer("messages-per-minute", default: 300, in: range)
        messagesPerMinutePerNetwork = try table.integer("messages-per-minute-per-network", default: 1200, in: range)
        mayPipelineEarly = try table.boolean("early-pipelining", default: false)
    }
}
