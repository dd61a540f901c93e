import NIOCore

/// `[authd.greylist]`: what is remembered of who has come back (RFC 6647).
package struct GreylistConfiguration: Sendable {
    /// How long a sender has to wait before it's let in.
    package var wait = TimeAmount.minutes(5)
    /// Within what time it must have come back.
    package var retryWithin = TimeAmount.hours(48)
    /// How long who has come back is remembered since the last mail.
    package var remember = TimeAmount.hours(24 * 36)
    /// So many triplets of a network that passed let all of it pass; 0 for never.
    package var networkPasses = 5
    /// So many messages by a domain, as SPF or DKIM shows, let all of its mail pass; 0 for never.
    package var identityPasses = 2
    /// Triplets, networks and domains that are remembered.
    package var capacity = 100_000

    /// The defaults.
    package init() {}

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        wait = try table.duration("wait", default: wait, in: .zero ... .hours(24))
        retryWithin = try table.duration("retry-within", default: retryWithin, in: .minutes(1) ... .hours(24 * 30))
        remember = try table.duration("remember", default: remember, in: .hours(1) ... .hours(24 * 365))
        networkPasses = try table.integer("network-passes", default: networkPasses, in: 0...1_000_000)
        identityPasses = try table.integer("identity-passes", default: identityPasses, in: 0...1_000_000)
        capacity = try table.integer("capacity", default: capacity, in: 100...1_000_000)
        guard wait < retryWithin else { throw table.error("wait", "must be shorter than retry-within") }
    }
}
