import NIOCore

/// Remembers failed logins and decides how long the next one waits. Failures count against the client and against the account;
/// only a login to that very account takes the client's failures at it back. Who has logged in to an account before is
/// not held up by what others do to it.
///
/// A client that tries the same wrong password at the same account again has guessed once: a device that nobody told the new
/// one tries for days, and waits alone for it, not all who share its address.
struct LoginThrottle {
    /// Who wants to log in as whom.
    struct Attempt: Hashable {
        /// What counts as one client (`SocketAddress.clientKey`).
        let client: [UInt8]
        /// The account, or what was given for one.
        let account: String
    }

    /// A password that was wrong.
    private struct Guess: Hashable {
        let attempt: Attempt
        let secret: UInt64
    }

    private var guesses: FailureCounts<Guess>
    private var attempts: FailureCounts<Attempt>
    private var clients: FailureCounts<[UInt8]>
    private var accounts: FailureCounts<String>
    /// Where a login went well, and when last.
    private var friends: [Attempt: NIODeadline] = [:]
    private let first: TimeAmount
    private let longest: TimeAmount
    private let capacity: Int

    /// No account's owner waits longer because of others, wherever he comes from.
    private static let longestForAccount = TimeAmount.seconds(4)

    /// - Parameters:
    ///   - first: the wait after one failure; it doubles with each.
    ///   - longest: no wait is longer.
    ///   - memory: failures are forgotten when so much time went by without another one.
    ///   - capacity: how many clients, accounts and pairs of them are remembered; those of long ago make room.
    init(first: TimeAmount, longest: TimeAmount, memory: TimeAmount = .minutes(15), capacity: Int = 10_000) {
        self.first = first
        self.longest = longest
        self.capacity = capacity
        guesses = FailureCounts(memory: memory, capacity: capacity)
        attempts = FailureCounts(memory: memory, capacity: capacity)
        clients = FailureCounts(memory: memory, capacity: capacity)
        accounts = FailureCounts(memory: memory, capacity: capacity)
    }

    /// The most entries of one kind that are remembered now.
    var count: Int { max(guesses.count, attempts.count, clients.count, accounts.count, friends.count) }

    /// Whether the client has logged in to this account before.
    func isFriend(_ attempt: Attempt) -> Bool { friends[attempt] != nil }

    /// How long a login waits before its password is looked at.
    ///
    /// - Parameter secret: tells passwords apart; a keyed hash, since it's remembered.
    func pause(for attempt: Attempt, secret: UInt64, now: NIODeadline) -> TimeAmount {
        let repeated = pause(after: guesses.count(of: Guess(attempt: attempt, secret: secret), now: now))
        if isFriend(attempt) { return max(repeated, pause(after: attempts.count(of: attempt, now: now))) }
        return max(
            repeated,
            pause(after: clients.count(of: attempt.client, now: now)),
            min(pause(after: accounts.count(of: attempt.account, now: now)), Self.longestForAccount)
        )
    }

    private func pause(after failures: Int) -> TimeAmount {
        guard failures > 0 else { return .zero }
        let (pause, overflow) = first.nanoseconds.multipliedReportingOverflow(by: 1 << Int64(min(failures - 1, 16)))
        return overflow ? longest : min(longest, .nanoseconds(pause))
    }

    mutating func failed(_ attempt: Attempt, secret: UInt64, now: NIODeadline) {
        let guess = Guess(attempt: attempt, secret: secret)
        let isNew = guesses.count(of: guess, now: now) == 0
        guesses.add(guess, now: now)
        guard isNew else { return }
        attempts.add(attempt, now: now)
        clients.add(attempt.client, now: now)
        accounts.add(attempt.account, now: now)
    }

    mutating func succeeded(_ attempt: Attempt, secret: UInt64, now: NIODeadline) {
        // The account may have got the password since.
        _ = guesses.remove(Guess(attempt: attempt, secret: secret), now: now)
        let forgiven = attempts.remove(attempt, now: now)
        clients.take(forgiven, from: attempt.client)
        accounts.take(forgiven, from: attempt.account)
        friends[attempt] = now
        if friends.count > capacity { friends = friends.filterLater(\.self) }
    }
}

/// How often something failed lately.
private struct FailureCounts<Key: Hashable> {
    private struct Failures {
        var count: Int
        var last: NIODeadline
    }

    private var known: [Key: Failures] = [:]
    private let memory: TimeAmount
    private let capacity: Int

    /// A count means no more from here on.
    private static var maximumCount: Int { 1 << 20 }

    init(memory: TimeAmount, capacity: Int) {
        self.memory = memory
        self.capacity = capacity
    }

    var count: Int { known.count }

    func count(of key: Key, now: NIODeadline) -> Int {
        known[key].map { now - $0.last < memory ? $0.count : 0 } ?? 0
    }

    mutating func add(_ key: Key, now: NIODeadline) {
        if known[key] == nil, known.count >= capacity {
            known = known.filter { now - $0.value.last < memory }
            if known.count >= capacity { known = known.filterLater(\.last) }
        }
        known[key] = Failures(count: min(count(of: key, now: now) + 1, Self.maximumCount), last: now)
    }

    /// Forgets a key.
    ///
    /// - Returns: its failures, as far as they still counted.
    mutating func remove(_ key: Key, now: NIODeadline) -> Int {
        defer { known[key] = nil }
        return count(of: key, now: now)
    }

    mutating func take(_ count: Int, from key: Key) {
        guard let failures = known[key] else { return }
        known[key] = failures.count > count ? Failures(count: failures.count - count, last: failures.last) : nil
    }
}

extension Dictionary {
    /// The later half, so that room isn't made one by one.
    fileprivate func filterLater(_ time: (Value) -> NIODeadline) -> Self {
        let times = values.map(time).sorted()
        let middle = times[times.count / 2]
        return filter { time($0.value) > middle }
    }
}
