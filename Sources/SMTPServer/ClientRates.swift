import NIOConcurrencyHelpers
import NIOCore

/// How many connections and messages come from each address and network within a minute, for all loops.
final class ClientRates: Sendable {
    /// What is counted.
    enum Event: Sendable {
        case connection
        case message
    }

    /// Which limit is reached.
    enum Excess: String, Sendable {
        case client = "your address"
        case network = "your network"
    }

    private struct Counts: Sendable {
        var connections: RateCounts
        var messages: RateCounts
    }

    private let limits: ClientRateLimits
    private let counts: NIOLockedValueBox<Counts>

    init(_ limits: ClientRateLimits) {
        self.limits = limits
        counts = NIOLockedValueBox(
            Counts(
                connections: RateCounts(capacity: limits.capacity),
                messages: RateCounts(capacity: limits.capacity)
            )
        )
    }

    /// Counts what a client wants to do, unless that is too much.
    ///
    /// - Parameter client: of 4 or 16 octets.
    func excess(of event: Event, by client: [UInt8], now: NIODeadline = .now()) -> Excess? {
        let network = Array(client.prefix(client.count == 4 ? 3 : 8))
        return counts.withLockedValue { counts in
            switch event {
            case .connection:
                counts.connections.excess(
                    of: client,
                    in: network,
                    limit: limits.connections,
                    networkLimit: limits.networkConnections,
                    now: now
                )
            case .message:
                counts.messages.excess(
                    of: client,
                    in: network,
                    limit: limits.messages,
                    networkLimit: limits.networkMessages,
                    now: now
                )
            }
        }
    }
}

/// What strangers may do within a minute; 0 for no limit.
package struct ClientRateLimits: Sendable {
    package var connections = 0
    package var networkConnections = 0
    package var messages = 0
    package var networkMessages = 0
    /// Addresses and networks that are remembered.
    package var capacity = 100_000

    package init() {}
}

/// How often something happened within the last minute: what each window of a minute has, which begins with the first that
/// happens, and a share of the one before. A value of bounded size.
struct RateCounts: Sendable {
    private struct Window {
        var start: NIODeadline
        var count = 0
        /// Of the window before.
        var former = 0
    }

    private static let minute = TimeAmount.minutes(1)

    /// Addresses have 4 or 16 octets, their networks 3 or 8.
    private var windows: [[UInt8]: Window] = [:]
    private let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    /// How many are remembered.
    var size: Int { windows.count }

    /// Counts once more, unless a limit is reached; 0 is none. What is refused doesn't count: who keeps to the limit from then on is
    /// served.
    mutating func excess(
        of client: [UInt8],
        in network: [UInt8],
        limit: Int,
        networkLimit: Int,
        now: NIODeadline
    ) -> ClientRates.Excess? {
        guard limit > 0 || networkLimit > 0 else { return nil }
        if limit > 0, count(of: client, now) >= limit { return .client }
        if networkLimit > 0, count(of: network, now) >= networkLimit { return .network }
        if limit > 0 { add(client, now) }
        if networkLimit > 0 { add(network, now) }
        return nil
    }

    private func count(of key: [UInt8], _ now: NIODeadline) -> Int {
        guard let window = window(of: key, now) else { return 0 }
        // Both are limits of the configuration at most, and a minute has sixty thousand milliseconds.
        let rest = (window.start + Self.minute - now).nanoseconds / 1_000_000
        return window.count + window.former * Int(rest) / 60_000
    }

    private func window(of key: [UInt8], _ now: NIODeadline) -> Window? {
        guard let window = windows[key] else { return nil }
        let age = now - window.start
        if age < Self.minute { return window }
        guard age < Self.minute * 2 else { return nil }
        return Window(start: window.start + Self.minute, former: window.count)
    }

    private mutating func add(_ key: [UInt8], _ now: NIODeadline) {
        if windows[key] == nil, windows.count >= capacity { makeRoom(now) }
        var window = window(of: key, now) ?? Window(start: now)
        window.count += 1
        windows[key] = window
    }

    /// Windows that are over go; where there are none, those with the least: a flood from everywhere hides nobody who is over a
    /// limit.
    private mutating func makeRoom(_ now: NIODeadline) {
        windows = windows.filter { now - $0.value.start < Self.minute }
        guard windows.count >= capacity / 2 else { return }
        let counts = windows.values.map(\.count).sorted()
        let middle = counts[counts.count / 2]
        let rarer = windows.filter { $0.value.count > middle }
        // Where all are alike, one half is as good as the other.
        windows = rarer.isEmpty ? Dictionary(uniqueKeysWithValues: Array(windows.prefix(windows.count / 2))) : rarer
    }
}
