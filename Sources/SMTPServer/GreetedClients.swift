import NIOConcurrencyHelpers
import NIOCore

/// Addresses that have waited for the greeting, for all loops: they aren't tried again for a day.
final class GreetedClients: Sendable {
    private let passed = NIOLockedValueBox<[[UInt8]: NIODeadline]>([:])
    private let capacity: Int

    private static let lifetime = TimeAmount.hours(24)

    /// - Parameter capacity: addresses that are remembered at most.
    init(capacity: Int = 50_000) { self.capacity = capacity }

    /// How many are remembered.
    var count: Int { passed.withLockedValue { $0.count } }

    /// - Parameter client: of 4 or 16 octets.
    func knows(_ client: [UInt8], now: NIODeadline = .now()) -> Bool {
        passed.withLockedValue { $0[client] }.map { now - $0 < Self.lifetime } ?? false
    }

    /// Remembers one that has waited. Where there is no room, the older half goes.
    func note(_ client: [UInt8], now: NIODeadline = .now()) {
        passed.withLockedValue { passed in
            if passed[client] == nil, passed.count >= capacity {
                passed = passed.filter { now - $0.value < Self.lifetime }
                if passed.count >= capacity {
                    let middle = passed.values.sorted()[passed.count / 2]
                    passed = passed.filter { $0.value > middle }
                }
            }
            passed[client] = now
        }
    }
}
