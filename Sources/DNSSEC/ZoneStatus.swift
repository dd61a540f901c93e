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
        var cost: Int
    }

    private var entries: [DomainName: Entry] = [:]
    private let limit: Int
    /// What all of them take now. Octets.
    package private(set) var octets = 0

    /// - Parameter limit: octets.
    package init(limit: Int = 4 << 20) {
        self.limit = limit
    }

    func status(of name: DomainName, now: UInt32) -> CutStatus? {
        guard let entry = entries[name] else { return nil }
        if now < entry.expires { return entry.status }
        forget(name)
        return nil
    }

    /// The same, and for how long it counts yet. Seconds.
    func known(of name: DomainName, now: UInt32) -> (status: CutStatus, seconds: UInt32)? {
        guard let status = status(of: name, now: now), let entry = entries[name] else { return nil }
        return (status, entry.expires &- now)
    }

    func keep(_ status: CutStatus, for name: DomainName, seconds: UInt32, now: UInt32) {
        forget(name)
        let name = name.compacted
        let cost = Self.entryCost + name.wireCount + status.cost
        guard cost <= limit else { return }
        if octets + cost > limit { makeRoom(now, cost) }
        entries[name] = Entry(status: status, expires: now &+ seconds, cost: cost)
        octets += cost
    }

    /// Makes room for `cost` octets and as much as an eighth of all.
    private func makeRoom(_ now: UInt32, _ cost: Int) {
        let target = max(0, limit - limit / 8 - cost)
        for (name, entry) in entries where entry.expires <= now { forget(name) }
        guard octets > target else { return }
        // Chance decides: nobody can choose what is forgotten.
        for name in entries.keys.shuffled() where octets > target { forget(name) }
    }

    /// The zone that a name is in, where its keys are known.
    package func secureZone(over name: DomainName) -> DomainName? {
        var next: DomainName? = name
        while let zone = next {
            if case .zone(.secure) = entries[zone]?.status { return zone }
            next = zone.parent
        }
        return nil
    }

    /// Forgets what is known of a zone's keys.
    package func forget(_ name: DomainName) {
        if let entry = entries.removeValue(forKey: name) { octets -= entry.cost }
    }

    package func removeAll() {
        entries = [:]
        octets = 0
    }

    /// What a place in the table takes, with the name's header. Octets.
    private static let entryCost = 200
}

extension CutStatus {
    /// What it takes in memory, about. Octets.
    fileprivate var cost: Int {
        switch self {
        case .zone(.secure(let keys)): keys.cost
        case .zone(.bogus(let reason)): reason.text.utf8.count
        case .none, .zone(.insecure): 0
        }
    }
}
