import NIOConcurrencyHelpers

/// A clock that a test sets. Seconds.
package final class TestClock: Sendable {
    private let time = NIOLockedValueBox<Int64>(1000)

    package init() {}

    package var now: Int64 { time.withLockedValue { $0 } }
    package func advance(_ seconds: Int64) { time.withLockedValue { $0 += seconds } }
}
