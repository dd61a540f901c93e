import NIOCore

/// What failed a moment ago and is left alone for a while: for twice as long after each failure in a row. When the time is over, one
/// finds out how it is now; the others wait for what it finds.
struct RestTimes<Key: Hashable> {
    private struct Rest {
        var failed: NIODeadline
        var until: NIODeadline
        var length: TimeAmount
        /// Somebody finds out.
        var isProbed = false
    }

    private var rests: [Key: Rest] = [:]
    private let first: TimeAmount
    private let longest: TimeAmount
    private let probe: TimeAmount
    private let capacity: Int

    /// - Parameters:
    ///   - first: after one failure.
    ///   - longest: after many.
    ///   - probe: how long whoever finds out may take at most.
    init(first: TimeAmount, longest: TimeAmount, probe: TimeAmount = .minutes(1), capacity: Int = 10_000) {
        self.first = first
        self.longest = longest
        self.probe = probe
        self.capacity = capacity
    }

    var count: Int { rests.count }

    /// It failed. Attempts that began together fail together: that's one failure.
    mutating func note(_ key: Key, at now: NIODeadline = .now()) {
        guard var rest = rests[key] else {
            makeRoom(at: now)
            rests[key] = Rest(failed: now, until: now + first, length: first)
            return
        }
        rest.failed = now
        guard rest.isProbed || rest.until <= now else {
            rests[key] = rest
            return
        }
        rest.length = min(.nanoseconds(rest.length.nanoseconds * 2), longest)
        rest.until = now + rest.length
        rest.isProbed = false
        rests[key] = rest
    }

    mutating func forget(_ key: Key) { rests[key] = nil }

    func isResting(_ key: Key, at now: NIODeadline = .now()) -> Bool { rests[key].map { $0.until > now } ?? false }

    /// Whether somebody found it so within a time.
    func hasFailed(_ key: Key, within time: TimeAmount, at now: NIODeadline = .now()) -> Bool {
        rests[key].map { $0.failed + time > now } ?? false
    }

    /// Whether it may be tried now. The first that asks when its time is over may, and the others when that one is back, or late.
    mutating func admits(_ key: Key, at now: NIODeadline = .now()) -> Bool {
        guard let rest = rests[key] else { return true }
        guard rest.until <= now else { return false }
        rests[key]?.until = now + probe
        rests[key]?.isProbed = true
        return true
    }

    /// What has been well for as long as it rested is forgotten first, and then all: nothing worse comes of it than attempts in vain.
    private mutating func makeRoom(at now: NIODeadline) {
        guard rests.count >= capacity else { return }
        rests = rests.filter { $0.value.until + $0.value.length > now }
        if rests.count >= capacity { rests = [:] }
    }
}
