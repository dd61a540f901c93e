import NIOCore

/// Logins that wait because somebody guessed before. They wait on a timer and take nobody's place; how many wait is bounded for
/// each client, for each account and in all. Belongs to one event loop.
final class SlowedLogins: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private struct Login {
        let attempt: LoginThrottle.Attempt
        let timer: Scheduled<Void>
        let done: CheckedContinuation<Bool, Never>
    }

    /// Whose logins count together.
    private enum Group: Hashable {
        case client([UInt8])
        case account(String)
        /// Those of a client at an account to which it has logged in before: nobody else can take their room.
        case friend(LoginThrottle.Attempt)
    }

    private let loop: any EventLoop
    private let maximum: Int
    private var logins: [UInt64: (login: Login, groups: [Group])] = [:]
    private var lastID: UInt64 = 0
    /// In the order they came.
    private var members: [Group: [UInt64]] = [:]

    private static let maximumPerClient = 8
    private static let maximumPerAccount = 16

    init(on loop: any EventLoop, maximum: Int = 5000) {
        self.loop = loop
        self.maximum = maximum
    }

    /// How many wait now.
    var count: Int { logins.count }

    /// Waits for so long.
    ///
    /// - Returns: false when there was no room, or when it had to make room for another.
    func wait(_ pause: TimeAmount, _ attempt: LoginThrottle.Attempt, isFriend: Bool) async -> Bool {
        loop.assertInEventLoop()
        let groups: [Group] = isFriend ? [.friend(attempt)] : [.client(attempt.client), .account(attempt.account)]
        guard members[groups[0]]?.count ?? 0 < Self.maximumPerClient else { return false }
        // At an account, whoever has most of its room makes some: no crowd of a few clients pushes another one out.
        if let others = members[.account(attempt.account)], !isFriend, others.count >= Self.maximumPerAccount {
            guard let greedy = greediest(of: others, besides: attempt.client) else { return false }
            end(greedy, false)
        }
        // In all, who has waited longest, of those who were never here before.
        if logins.count >= maximum {
            guard let oldest = logins.lazy.filter({ !Self.isFriend($0.value.groups) }).map(\.key).min() else {
                return false
            }
            end(oldest, false)
        }
        return await withCheckedContinuation { continuation in
            lastID += 1
            let id = lastID
            let timer = loop.scheduleTask(in: pause) { [self] in end(id, true) }
            logins[id] = (Login(attempt: attempt, timer: timer, done: continuation), groups)
            for group in groups { members[group, default: []].append(id) }
        }
    }

    private static func isFriend(_ groups: [Group]) -> Bool {
        if case .friend? = groups.first { true } else { false }
    }

    /// The first login of the client that has most of these; nil where that is the one who wants room.
    private func greediest(of others: [UInt64], besides client: [UInt8]) -> UInt64? {
        var counts: [[UInt8]: Int] = [client: 0]
        for id in others { if let login = logins[id] { counts[login.login.attempt.client, default: 0] += 1 } }
        guard let most = counts.values.max(), counts[client] ?? 0 < most else { return nil }
        return others.first { id in logins[id].map { counts[$0.login.attempt.client] == most } ?? false }
    }

    private func end(_ id: UInt64, _ mayGoOn: Bool) {
        loop.assertInEventLoop()
        guard let (login, groups) = logins.removeValue(forKey: id) else { return }
        for group in groups {
            members[group]?.removeAll { $0 == id }
            if members[group]?.isEmpty == true { members[group] = nil }
        }
        login.timer.cancel()
        login.done.resume(returning: mayGoOn)
    }
}
