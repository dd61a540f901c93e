import NIOCore

/// `[queue-manager]`
package struct QueueManagerConfiguration: Sendable {
    /// How long a message is tried before it is returned.
    package var lifetime: TimeAmount
    /// The first wait after a failed attempt; waits double up to `retryMaximum`.
    package var retryMinimum: TimeAmount
    package var retryMaximum: TimeAmount
    /// Deliveries to one destination at the same time.
    package var destinationConcurrency: Int

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        lifetime = try table.duration("lifetime", default: .hours(5 * 24))
        retryMinimum = try table.duration("retry-minimum", default: .minutes(5))
        retryMaximum = try table.duration("retry-maximum", default: .hours(4))
        destinationConcurrency = try table.integer("destination-concurrency", default: 20, in: 1...10_000)
    }
}
