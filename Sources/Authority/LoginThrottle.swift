import NIOCore

/// Remembers failed logins by client and decides how long the next one is delayed.
struct LoginThrottle {
    private struct Failures {
        var count: Int
        var last: NIODeadline
    }

    private var clients: [[UInt8]: Failures] = [:]
    private let first: TimeAmount
    private let longest: TimeAmount
    private let memory: TimeAmount
    private let capacity: Int

    /// - Parameters:
    ///   - first: the wait after one failure; it doubles with each.
    ///   - longest: no wait is longer.
    ///   - memory: failures are forgotten when so much time went by without another one.
    ///   - capacity: clients that are remembered; the one that failed longest ago makes room.
    init(first: TimeAmount, longest: TimeAmount, memory: TimeAmount = .minutes(15), capacity: Int = 10_000) {
        self.first = first
        self.longest = longest
        self.memory = memory
        self.capacity = capacity
    }

    /// How many clients are remembered.
    var count: Int { clients.count }

    mutating func pause(for client: [UInt8], now: NIODeadline) -> TimeAmount {
        guard let failures = clients[client] else { return .zero }
        guard now - failures.last < memory else {
            clients[client] = nil
            return .zero
        }
        let (pause, overflow) = first.nanoseconds.multipliedReportingOverflow(
            by: 1 << Int64(min(failures.count - 1, 16))
        )
        return overflow ? longest : min(longest, .nanoseconds(pause))
    }

    mutating func failed(_ client: [UInt8], now: NIODeadline) {
        if clients[client] == nil, clients.count >= capacity { makeRoom(now: now) }
        let former = clients[client].flatMap { now - $0.last < memory ? $0.count : nil }
        let count = (former ?? 0) + 1
        clients[client] = Failures(count: min(count, 64), last: now)
    }

    mutating func succeeded(_ client: [UInt8]) { clients[client] = nil }

    /// Forgets what is old; where nothing is, the older half, so that this isn't done at every failure.
    private mutating func makeRoom(now: NIODeadline) {
        clients = clients.filter { now - $0.value.last < memory }
        guard clients.count >= capacity else { return }
        let times = clients.values.map(\.last).sorted()
        let middle = times[times.count / 2]
        clients = clients.filter { $0.value.last > middle }
    }
}
