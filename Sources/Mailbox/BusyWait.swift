import NIOCore

/// How somebody waits for a mailbox that is `busy`: by a timer, not on a thread.
package struct BusyWait: Sendable {
    private static let longest = TimeAmount.milliseconds(200)

    private let deadline: NIODeadline
    private var pause = TimeAmount.milliseconds(5)

    /// - Parameter patience: for how long it's tried.
    package init(patience: TimeAmount = .seconds(10)) { deadline = .now() + patience }

    /// When to try again; nil when it took too long.
    package mutating func next() -> TimeAmount? {
        guard .now() < deadline else { return nil }
        defer { pause = min(pause * 2, Self.longest) }
        return pause
    }
}
