import Keys

/// The keys for session tickets, others for each service. A key is used for half of a ticket's lifetime and kept until the last of its
/// tickets is over. They are in memory only: who has a stolen disk has none of them.
struct TicketKeyring: Sendable {
    private struct Entry {
        let key: TicketKey
        /// Seconds.
        let since: Int
    }

    private var services: [String: [Entry]] = [:]
    /// Whether there are keys that nobody has been told of.
    private var hasNews = false
    /// Of a ticket, in seconds; 0 for none.
    private let lifetime: Int

    init(lifetime: Int) { self.lifetime = lifetime }

    private var period: Int { max(1, lifetime / 2) }

    /// Those of a service, the one for new tickets first.
    ///
    /// - Parameter now: seconds, from anywhere on.
    mutating func keys(of service: String, now: Int) -> TicketKeys {
        guard lifetime > 0 else { return TicketKeys(keys: [], lifetime: 0) }
        if services[service] == nil { services[service] = [Entry(key: TicketKey(), since: now)] }
        makeDue(now)
        return TicketKeys(keys: services[service]?.map(\.key) ?? [], lifetime: lifetime)
    }

    /// Makes the keys that are due.
    ///
    /// - Returns: whether there are any since it was last asked, also by one service that others of it have to hear of.
    mutating func rotate(now: Int) -> Bool {
        makeDue(now)
        defer { hasNews = false }
        return hasNews
    }

    private mutating func makeDue(_ now: Int) {
        for (service, entries) in services where now - (entries.first?.since ?? 0) >= period {
            hasNews = true
            let kept = entries.filter { now - $0.since < period + lifetime }
            services[service] = [Entry(key: TicketKey(), since: now)] + kept
        }
    }
}
