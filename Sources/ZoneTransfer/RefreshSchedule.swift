import DNS

/// When a secondary zone is compared with its primaries, and until when it may be served (RFC 1034 §4.3.5). All times
/// are seconds by a clock that never goes back.
package struct RefreshSchedule: Sendable {
    /// The least time between two looks, whatever the zone says. Seconds.
    package let minimum: Int64
    /// When the next look is due.
    package private(set) var nextCheck: Int64
    /// When a primary last said that this is its version; nil for a zone that there is no copy of.
    package private(set) var confirmed: Int64?
    private var start: StartOfAuthority?
    private var failures = 0

    /// The longest times that a zone may ask for. Seconds.
    private static let maximumRefresh: Int64 = 7 * 86400
    private static let maximumRetry: Int64 = 86400
    private static let maximumExpiry: Int64 = 365 * 86400
    /// The longest pause between attempts for a zone that there is no copy of. Seconds.
    private static let maximumFirstRetry: Int64 = 900

    /// The schedule of a zone that is looked for at once.
    package init(now: Int64, minimum: Int64) {
        self.minimum = max(1, minimum)
        nextCheck = now
    }

    /// There is a copy of the zone that was last confirmed at a time. The next look stays due when it is.
    package mutating func restore(_ start: StartOfAuthority, confirmed: Int64) {
        self.start = start
        self.confirmed = confirmed
    }

    /// A primary has this version.
    ///
    /// - Parameter jitter: 0 to 1: how much earlier than asked for the next look comes, so that zones don't all come
    ///   together.
    package mutating func confirm(_ start: StartOfAuthority, at now: Int64, jitter: Double) {
        self.start = start
        confirmed = now
        failures = 0
        nextCheck = now + Self.shortened(refresh, jitter)
    }

    /// No primary gave an answer that is of use.
    package mutating func fail(at now: Int64, jitter: Double) {
        failures += 1
        let pause =
            start == nil ? min(minimum << Int64(min(failures - 1, 10)), max(minimum, Self.maximumFirstRetry)) : retry
        nextCheck = now + Self.shortened(pause, jitter)
    }

    /// When the zone is too old to be served; nil where there is no copy.
    package var expires: Int64? { confirmed.map { $0 + expiry } }

    /// Whether the zone is too old to be served, or isn't there.
    package func isExpired(at now: Int64) -> Bool { expires.map { $0 <= now } ?? true }

    private var refresh: Int64 { Self.limited(start?.refresh, minimum, Self.maximumRefresh) }
    private var retry: Int64 { Self.limited(start?.retry, minimum, Self.maximumRetry) }
    /// Never so short that no look and second attempt could come before.
    private var expiry: Int64 { max(Self.limited(start?.expire, 0, Self.maximumExpiry), refresh + retry) }

    private static func limited(_ value: UInt32?, _ minimum: Int64, _ maximum: Int64) -> Int64 {
        min(max(Int64(value ?? 0), minimum), max(minimum, maximum))
    }

    /// By up to a quarter, and one second at least is left.
    private static func shortened(_ period: Int64, _ jitter: Double) -> Int64 {
        max(1, period - Int64(Double(period) * 0.25 * min(max(jitter, 0), 1)))
    }
}
