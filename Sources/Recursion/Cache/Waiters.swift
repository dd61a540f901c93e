import NIOCore

/// Those who wait for one answer that is under way.
struct Waiters {
    private var continuations: [Int: CheckedContinuation<Outcome?, Never>] = [:]
    /// What gives up waiting, by waiter.
    var timers: [Int: Scheduled<Void>] = [:]
    private var next = 1

    /// How many may wait for one answer.
    static let maximum = 1000

    var count: Int { continuations.count }

    /// Adds a waiter and gives its number.
    mutating func add(_ continuation: CheckedContinuation<Outcome?, Never>) -> Int {
        defer { next += 1 }
        continuations[next] = continuation
        return next
    }

    mutating func remove(_ id: Int) -> CheckedContinuation<Outcome?, Never>? {
        timers.removeValue(forKey: id)?.cancel()
        return continuations.removeValue(forKey: id)
    }

    func resume(with outcome: Outcome) {
        for timer in timers.values { timer.cancel() }
        for continuation in continuations.values { continuation.resume(returning: outcome) }
    }
}
