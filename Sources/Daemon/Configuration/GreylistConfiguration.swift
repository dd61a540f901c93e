import NIOCore

/// `[authd.greylist]`: what is remembered of who has come back (RFC 6647).
package struct GreylistConfiguration: Sendable {
    /// How long a sender has to wait before it's let in.
    package var wait: TimeAmount
    /// Within what time it must have come back.
    package var retryWithin: TimeAmount
    /// How long who has come back is remembered since the last mail.
    package var remember: TimeAmount
    /// So many triplets of a network that passed let all of it pass; 0 for never.
    package var networkPasses: Int
    /// So many messages by a domain, as SPF or DKIM shows, let all of its mail pass; 0 for never.
    package var identityPasses: Int
    /// Triplets, networks and domains that are remembered.
    package var capacity: Int

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        wait = try table.duration("wait", default: .minutes(5), in: .zero ... .hours(24))
        retryWithin = try table.duration("retry-within", default: .hours(48), in: .minutes(1) ... .hours(24 * 30))
        remember = try table.duration("remember", default: .hours(24 * 36), in: .hours(1) ... .hours(24 * 365))
        networkPasses = try table.integer("network-passes", default: 5, in: 0...1_000_000)
        identityPasses = try table.integer("identity-passes", default: 2, in: 0...1_000_000)
        capacity = try table.integer("capacity", default: 100_000, in: 100...1_000_000)
        guard wait < retryWithin else { throw table.error("wait", "must be shorter than retry-within") }
    }
}
