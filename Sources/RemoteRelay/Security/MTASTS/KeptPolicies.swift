import DNS
import NIOCore

/// Policies within a bound of number and size. Where it's reached, whoever's mail has caused most of them loses the one that was used
/// least lately: a stranger with thousands of domains pushes out nobody's but his own.
struct KeptPolicies: Sendable {
    private struct Entry {
        var policy: KeptPolicy
        /// As it's written down.
        var octets: Int
        /// Later ones are larger.
        var use: UInt64
    }

    private var entries: [DomainName: Entry] = [:]
    /// Octets, by whose mail has caused them.
    private var shares: [KeptPolicy.Cause: Int] = [:]
    /// Of all of them, as they're written down.
    private(set) var octets = 0
    private var uses: UInt64 = 0
    private let capacity: Int
    private let maximumOctets: Int

    /// - Parameter maximumOctets: of all of them.
    init(capacity: Int, maximumOctets: Int) {
        self.capacity = capacity
        self.maximumOctets = maximumOctets
    }

    var count: Int { entries.count }

    var all: [KeptPolicy] { entries.values.map(\.policy) }

    subscript(_ domain: DomainName) -> KeptPolicy? { entries[domain]?.policy }

    /// Mail goes there.
    mutating func use(_ domain: DomainName, by cause: KeptPolicy.Cause) {
        guard var entry = entries[domain] else { return }
        uses += 1
        entry.use = uses
        let before = entry.policy.cause
        entry.policy.use(by: cause)
        // It's as long as it was, unless it has another cause now.
        if entry.policy.cause != before {
            add(-entry.octets, to: before)
            entry.octets = entry.policy.encoded.readableBytes
            add(entry.octets, to: entry.policy.cause)
        }
        entries[domain] = entry
    }

    /// Takes a policy in, for the one that its domain had.
    mutating func keep(_ policy: KeptPolicy) {
        remove(policy.domain)
        uses += 1
        let entry = Entry(policy: policy, octets: policy.encoded.readableBytes, use: uses)
        guard entry.octets <= maximumOctets else { return }
        entries[policy.domain] = entry
        add(entry.octets, to: policy.cause)
        while entries.count > capacity || octets > maximumOctets, removeOne() {}
    }

    private mutating func removeOne() -> Bool {
        guard let most = shares.max(by: { $0.value < $1.value })?.key,
            let least = entries.values.filter({ $0.policy.cause == most }).min(by: { $0.use < $1.use })
        else { return false }
        remove(least.policy.domain)
        return true
    }

    mutating func remove(_ domain: DomainName) {
        guard let entry = entries.removeValue(forKey: domain) else { return }
        add(-entry.octets, to: entry.policy.cause)
    }

    private mutating func add(_ count: Int, to cause: KeptPolicy.Cause) {
        octets += count
        let share = shares[cause, default: 0] + count
        shares[cause] = share > 0 ? share : nil
    }
}
