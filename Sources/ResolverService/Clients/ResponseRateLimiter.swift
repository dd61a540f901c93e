import Network

/// How many answers go by UDP to those who may not have asked for them.
struct RateLimits: Sendable {
    /// Answers of one kind that one network gets in a second; 0 for no limit.
    var perKind = 0
    /// Answers of all kinds that one network gets in a second; 0 for no limit.
    var all = 0
    /// Of so many answers that are over a limit one is sent cut, so that a true client asks by TCP; 0 for none.
    var slip = 2
    /// Whose answers aren't limited.
    var exempt: [AddressRange] = []
    /// Whether others than those must show a cookie before they get a whole answer by UDP.
    var requiresCookies = false

    /// Whether the answers to an address are limited.
    func limits(_ octets: [UInt8]) -> Bool {
        (perKind > 0 || all > 0 || requiresCookies) && !exempt.contains { $0.contains(octets) }
    }
}

/// Counts answers by network and kind on one event loop, in a table of a fixed size: what stands against reflection.
///
/// Each network has a balance for each kind of answer, which grows by the limit every second, up to the limit, and
/// shrinks by one with each answer.
struct ResponseRateLimiter {
    /// What becomes of an answer.
    enum Verdict: Equatable {
        case send
        /// Only that there is more by TCP, or with a cookie.
        case slip
        case drop
    }

    private struct Account {
        var key: UInt64
        /// When the balance was counted up. Milliseconds.
        var time: UInt32
        /// In thousandths of an answer.
        var balance: Int32
    }

    private let limits: RateLimits
    private var accounts: [Account] = []
    private var slips = 0

    /// Each account is in one of this many places.
    private static let ways = 4
    /// How many accounts there are: 1 MiB.
    static let maximumAccounts = 1 << 16
    /// How far a balance falls: who keeps asking over the limit gets nothing, but isn't remembered for long. Seconds.
    private static let deepest: Int64 = 2

    init(_ limits: RateLimits) {
        self.limits = limits
    }

    /// Counts an answer.
    ///
    /// - Parameters:
    ///   - kind: what the answer is about, hashed with a seed that nobody outside knows.
    ///   - now: milliseconds, going round.
    mutating func judge(_ network: ClientNetwork, kind: UInt64, now: UInt32) -> Verdict {
        let isInLimits =
            take(mix(network.key ^ Self.allSalt), limits.all, now)
            && take(mix(network.key &+ mix(kind)), limits.perKind, now)
        if isInLimits { return .send }
        guard limits.slip > 0 else { return .drop }
        slips += 1
        guard slips >= limits.slip else { return .drop }
        slips = 0
        return .slip
    }

    private static let allSalt = UInt64.random(in: .min ... .max)

    private mutating func take(_ key: UInt64, _ limit: Int, _ now: UInt32) -> Bool {
        guard limit > 0 else { return true }
        if accounts.isEmpty {
            accounts = Array(repeating: Account(key: 0, time: 0, balance: 0), count: Self.maximumAccounts)
        }
        let set = Int(truncatingIfNeeded: key) & (Self.maximumAccounts / Self.ways - 1)
        var chosen = set * Self.ways
        var oldest: UInt32 = 0
        for place in (set * Self.ways)..<(set * Self.ways + Self.ways) {
            if accounts[place].key == key {
                let account = accounts[place]
                let most = Int64(limit) * 1000
                // A limit of so many a second is as many thousandths a millisecond.
                let grown = min(Int64(account.balance) + Int64(now &- account.time) * Int64(limit), most)
                let left = max(grown - 1000, -most * Self.deepest)
                accounts[place].time = now
                accounts[place].balance = Int32(clamping: left)
                return left >= 0
            }
            // The one that was unused longest makes room.
            let age = accounts[place].key == 0 ? .max : now &- accounts[place].time
            if age >= oldest {
                oldest = age
                chosen = place
            }
        }
        accounts[chosen] = Account(key: key, time: now, balance: Int32(clamping: (limit - 1) * 1000))
        return true
    }

    /// Spreads the bits (the finish of MurmurHash3).
    private func mix(_ value: UInt64) -> UInt64 {
        var value = value
        value ^= value >> 33
        value = value &* 0xFF51_AFD7_ED55_8CCD
        value ^= value >> 33
        value = value &* 0xC4CE_B9FE_1A85_EC53
        return value ^ value >> 33
    }
}
