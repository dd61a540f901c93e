import NIOCore

/// Who may have a password verified now: a bounded number at a time, clients in turn, and first those who have logged in to
/// the same account before. Belongs to one event loop.
final class LoginPlaces: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// Logins of one kind that wait, a line for each client.
    private struct Lines {
        private var lines: [[UInt8]: CircularBuffer<CheckedContinuation<Bool, Never>>] = [:]
        /// Clients that have a line, the next one first.
        private var turns = CircularBuffer<[UInt8]>()
        private(set) var count = 0

        func count(of client: [UInt8]) -> Int { lines[client]?.count ?? 0 }

        mutating func append(_ login: CheckedContinuation<Bool, Never>, of client: [UInt8]) {
            count += 1
            if lines[client] == nil { turns.append(client) }
            lines[client, default: CircularBuffer()].append(login)
        }

        mutating func popFirst() -> CheckedContinuation<Bool, Never>? {
            guard let client = turns.popFirst(), let login = lines[client]?.popFirst() else { return nil }
            count -= 1
            if lines[client]?.isEmpty == true { lines[client] = nil } else { turns.append(client) }
            return login
        }

        /// Takes the last login out of a line that is longer than so many.
        mutating func popLast(ofMoreThan length: Int) -> CheckedContinuation<Bool, Never>? {
            guard let (client, line) = lines.max(by: { $0.value.count < $1.value.count }), line.count > length,
                let login = lines[client]?.popLast()
            else { return nil }
            count -= 1
            return login
        }
    }

    private let loop: any EventLoop
    private let places: Int
    private let maximumWaiting: Int
    private var taken = 0
    private var friends = Lines()
    private var others = Lines()
    /// Friends that went before others in a row.
    private var advance = 0

    /// So many friends may go before one of the others does.
    private static let maximumAdvance = 3

    /// - Parameters:
    ///   - places: passwords that are verified at the same time.
    ///   - maximumWaiting: logins, those that are verified among them; as many again of those who logged in before.
    init(on loop: any EventLoop, places: Int, maximumWaiting: Int) {
        self.loop = loop
        self.places = places
        self.maximumWaiting = maximumWaiting
    }

    /// Waits for a place. Who has one gives it back by `leave`.
    ///
    /// - Returns: false when too many wait already.
    func enter(_ client: [UInt8], isFriend: Bool) async -> Bool {
        loop.assertInEventLoop()
        if taken < places {
            taken += 1
            return true
        }
        if (isFriend ? friends.count : others.count) + taken >= maximumWaiting, !makeRoom(client, isFriend: isFriend) {
            return false
        }
        return await withCheckedContinuation { continuation in
            if isFriend { friends.append(continuation, of: client) } else { others.append(continuation, of: client) }
        }
    }

    /// The client with the longest line gives a place in it up for one whose line is shorter.
    private func makeRoom(_ client: [UInt8], isFriend: Bool) -> Bool {
        let length = (isFriend ? friends : others).count(of: client) + 1
        guard let last = isFriend ? friends.popLast(ofMoreThan: length) : others.popLast(ofMoreThan: length) else {
            return false
        }
        last.resume(returning: false)
        return true
    }

    func leave() {
        loop.assertInEventLoop()
        guard let next = next() else {
            taken -= 1
            return
        }
        next.resume(returning: true)
    }

    private func next() -> CheckedContinuation<Bool, Never>? {
        if advance < Self.maximumAdvance || others.count == 0, let friend = friends.popFirst() {
            advance += 1
            return friend
        }
        advance = 0
        return others.popFirst() ?? friends.popFirst()
    }
}
