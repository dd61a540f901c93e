import NIOConcurrencyHelpers

/// What is on its way into Maildirs that have a quota: octets that aren't there yet, so that deliveries at the same time don't
/// take the same room.
final class MaildirRooms: Sendable {
    private struct Room {
        /// In the order they came.
        var claims: [(name: String, octets: Int)] = []
        /// Held while messages turn from claimed ones into ones that are there, and by who may not count any of them twice.
        let arrivals = NIOLock()
    }

    /// Those with a claim.
    private let rooms = NIOLockedValueBox<[MailboxLocation: Room]>([:])

    /// Takes room for a message.
    ///
    /// - Parameter name: unique among the messages that are on their way into this Maildir.
    func claim(_ octets: Int, for name: String, in location: MailboxLocation) {
        guard location.quota > 0 else { return }
        rooms.withLockedValue { $0[location, default: Room()].claims.append((name, octets)) }
    }

    /// Gives the room back: the message is there now, or there is none.
    func release(_ name: String, in location: MailboxLocation) {
        rooms.withLockedValue { rooms in
            rooms[location]?.claims.removeAll { $0.name == name }
            if rooms[location]?.claims.isEmpty == true { rooms[location] = nil }
        }
    }

    /// What others took before a message did.
    func before(_ name: String, in location: MailboxLocation) -> Int {
        rooms.withLockedValue { rooms in
            rooms[location]?.claims.prefix { $0.name != name }.reduce(0) { $0 + $1.octets } ?? 0
        }
    }

    /// Runs what makes messages that have a claim ones that are there.
    func arriving(in location: MailboxLocation, _ body: () -> Void) {
        guard let arrivals = rooms.withLockedValue({ $0[location]?.arrivals }) else { return body() }
        arrivals.withLock(body)
    }

    /// Runs what counts the messages that are there; none arrives meanwhile.
    ///
    /// - Parameter body: takes what says which octets others claim before a message did.
    func counting(
        in location: MailboxLocation,
        _ body: (_ before: (String) -> Int) throws(MailboxError) -> Void
    ) throws(MailboxError) {
        let arrivals = rooms.withLockedValue { $0[location]?.arrivals }
        arrivals?.lock()
        defer { arrivals?.unlock() }
        try body { before($0, in: location) }
    }
}
