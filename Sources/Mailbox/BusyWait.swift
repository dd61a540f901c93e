import NIOCore

/// The backoff for retrying a mailbox that is `busy`, driven by a timer so that no thread waits.
package struct BusyWait: Sendable {
    private static let longest = TimeAmount.milliseconds(200)

    private let deadline: NIODeadline
    private var pause = TimeAmount.milliseconds(5)

    package init(limit: TimeAmount = .seconds(10)) { deadline = .now() + limit }

    /// The delay before the next attempt; nil once the limit is reached.
    package mutating func next() -> TimeAmount? {
        guard .now() < deadline else { return nil }
        defer { pause = min(pause * 2, Self.longest) }
        return pause
    }
}
