import NIOCore

/// `[queue-manager]`
package struct QueueManagerConfiguration: Sendable {
    /// How long a message is tried before it is returned.
    package var lifetime: TimeAmount
    /// The same for delivery reports, which nobody waits for.
    package var bounceLifetime: TimeAmount
    /// After how long the sender is told that a message is late; zero for never.
    package var delayWarning: TimeAmount
    /// The first wait after a failed attempt; waits double up to `retryMaximum`.
    package var retryMinimum: TimeAmount
    package var retryMaximum: TimeAmount
    /// Deliveries to one destination at the same time.
    package var destinationConcurrency: Int
    /// Deliveries to mailboxes at the same time.
    package var localConcurrency: Int
    /// Deliveries at the same time in all.
    package var concurrency: Int
    /// Recipients of one message that one delivery to another host has.
    package var deliveryRecipients: Int
    /// The largest message that local programs may hand in. Octets.
    package var maximumMessage: Int
    /// How many recipients a message from a local program may have.
    package var maximumRecipients: Int
    /// Of one file of the spool's journal. Octets.
    package var journalSegment: Int
    /// What is left free on the spool's file system. Octets.
    package var reserve: Int

    /// The defaults.
    package static var standard: QueueManagerConfiguration {
        get throws(ConfigurationError) { try QueueManagerConfiguration(ConfigurationTable([:], file: "")) }
    }

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        lifetime = try table.duration("lifetime", default: .hours(5 * 24))
        bounceLifetime = try table.duration("bounce-lifetime", default: .hours(2 * 24))
        delayWarning = try table.duration("delay-warning", default: .hours(4))
        retryMinimum = try table.duration("retry-minimum", default: .minutes(5), in: .milliseconds(10) ... .hours(48))
        retryMaximum = try table.duration("retry-maximum", default: .hours(4), in: .milliseconds(10) ... .hours(240))
        guard retryMinimum <= retryMaximum else {
            throw table.error("retry-minimum", "must not be more than retry-maximum")
        }
        destinationConcurrency = try table.integer("destination-concurrency", default: 20, in: 1...10_000)
        localConcurrency = try table.integer("local-concurrency", default: 200, in: 1...10_000)
        concurrency = try table.integer("concurrency", default: 1000, in: 1...100_000)
        deliveryRecipients = try table.integer("delivery-recipients", default: 100, in: 1...1000)
        maximumMessage = try table.octets("maximum-message", default: 50 << 20)
        maximumRecipients = try table.integer("maximum-recipients", default: 1000, in: 1...20_000)
        journalSegment = try table.octets("journal-segment", default: 64 << 20, in: (2 << 20)...(1 << 30))
        reserve = try table.octets("reserve", default: 64 << 20)
    }
}
