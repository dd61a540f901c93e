import DNS

/// What is known of a zone's keys.
package enum ZoneStatus: Sendable {
    case secure(TrustedKeys)
    /// A proof says that it's not signed, or nobody vouches for anything there.
    case insecure
    case bogus(Bogus)
}

/// What was found at a name on the way from a trust anchor down.
enum CutStatus: Sendable {
    /// The zone above goes on.
    case none
    case zone(ZoneStatus)
}

/// The zones' keys that have been checked, and the names that are no cuts. Belongs to one event loop.
package final class KeyCache {
    private struct Entry {
        var status: CutStatus
        var expires: UInt32
    }

    private var entries: [DomainName: Entry] = [:]
    private let maximum: Int

    /// - Parameter maximum: how many names are remembered.
    package init(maximum: Int = 10_000) {
        self.maximum = maximum
    }

    func status(of name: DomainName, now: UInt32) -> CutStatus? {
        guard let entry = entries[name] else { return nil }
        if now < entry.expires { return entry.status }
        entries[name] = nil
        return nil
    }

    func keep(_ status: CutStatus, for name: DomainName, seconds: UInt32, now: UInt32) {
        if entries.count >= maximum { makeRoom(now) }
        entries[name] = Entry(status: status, expires: now &+ seconds)
    }

    private func makeRoom(_ now: UInt32) {
        entries = entries.filter { $0.value.expires > now }
        // Chance decides: nobody can choose what is forgotten.
        while entries.count >= maximum - maximum / 8, let victim = entries.keys.randomElement() {
            entries[victim] = nil
        }
    }

    package func removeAll() { entries = [:] }
}
