import DNS
import NIOCore

/// The servers of one zone that may answer one question, and how often each was asked.
struct ServerRound {
    /// What sets one question apart from others about the zone.
    struct Manner {
        /// Whether only a part of the name is asked about: servers that don't answer that well aren't bad ones.
        var isPartial = false
        /// Who is asked first.
        var first: SocketAddress?
        /// Who isn't asked, because their answers were bogus.
        var avoided: [SocketAddress] = []
        /// Who failed at this question of late, and is asked last.
        var failing: [SocketAddress] = []
        /// Whether all servers failed a moment ago: then few of them are asked, each once.
        var isLame = false
    }

    private(set) var candidates: [Candidate] = []
    private var unresolved: [HostLookup]
    private var others: [HostLookup]
    private let zone: Delegation
    private let policy: AddressPolicy
    private let manner: Manner
    /// How many more servers, and names of servers, are looked at for something better than what is there; nil where
    /// nothing is.
    private var betterTries: (servers: Int, lookups: Int)?
    /// The same where all servers failed a moment ago.
    private var lameTries: (servers: Int, lookups: Int)?

    /// A server that may answer.
    struct Candidate {
        let address: SocketAddress
        /// How often it was asked.
        fileprivate(set) var attempts = 0
        fileprivate var isRepeated = false
    }

    /// In which order servers are asked.
    enum Rank: Int, Comparable {
        case untried
        /// Others are better for the zone.
        case untriedButAside
        /// It failed at this very question.
        case untriedButFailing
        case triedOnce
        case triedTwice
        /// It didn't answer for a while: one attempt may wake it.
        case asleep

        static func < (one: Rank, other: Rank) -> Bool { one.rawValue < other.rawValue }
    }

    init(_ zone: Delegation, _ policy: AddressPolicy, _ manner: Manner) {
        self.zone = zone
        self.policy = policy
        self.manner = manner
        let known = zone.askable(policy)
        candidates = known.addresses.map { Candidate(address: $0) }
        if !manner.avoided.isEmpty { candidates.removeAll { manner.avoided.contains($0.address) } }
        unresolved = known.unresolved
        others = known.others
        if manner.isLame { lameTries = (servers: manner.isPartial ? 1 : 2, lookups: 2) }
    }

    /// Adds addresses that were looked up.
    mutating func add(_ addresses: [SocketAddress]) {
        for address in addresses
        where zone.allows(address, policy) && place(address) == nil && !manner.avoided.contains(address) {
            candidates.append(Candidate(address: address))
        }
    }

    /// When a candidate's turn is; nil for one that had all of its turns.
    func rank(_ candidate: Candidate, isAsleep: @autoclosure () -> Bool, now: Int64) -> Rank? {
        if candidate.attempts >= 3 { return nil }
        if let lameTries, lameTries.servers <= 0 || candidate.attempts > 0 { return nil }
        if isAsleep() { return candidate.attempts == 0 && betterTries == nil ? .asleep : nil }
        switch candidate.attempts {
        case 0:
            if let betterTries, betterTries.servers <= 0 { return nil }
            if candidate.address == manner.first { return .untried }
            if !manner.failing.isEmpty, manner.failing.contains(candidate.address) { return .untriedButFailing }
            return zone.isAside(candidate.address, now: now) ? .untriedButAside : .untried
        case _ where betterTries != nil: return nil
        case 1: return .triedOnce
        default: return .triedTwice
        }
    }

    /// Who is to be asked before all others of the same rank.
    var first: SocketAddress? { manner.first }

    /// What is to be looked up before a server of a rank is asked (nil: where there is none). It isn't given again.
    mutating func takeLookup(before rank: Rank?) -> HostLookup? {
        if let tries = lameTries {
            // Only where nobody can be asked at all.
            guard tries.lookups > 0, tries.servers > 0, candidates.isEmpty, let next = unresolved.popLast() else {
                return nil
            }
            lameTries?.lookups -= 1
            return next
        }
        if let tries = betterTries {
            guard tries.lookups > 0 else { return nil }
            betterTries?.lookups -= 1
        }
        if rank != .untried, let next = unresolved.popLast() { return next }
        // Where two attempts at the one family came to nothing, or none is possible.
        guard betterTries == nil, rank.map({ $0 >= .triedTwice }) ?? true else { return nil }
        return others.popLast()
    }

    /// Looks up the rest of a name's addresses where those that were found don't do.
    mutating func putBack(_ lookup: HostLookup) { others.insert(lookup, at: 0) }

    private func place(_ address: SocketAddress) -> Int? { candidates.firstIndex { $0.address == address } }

    func attempts(_ address: SocketAddress) -> Int { place(address).map { candidates[$0].attempts } ?? 0 }

    mutating func count(_ address: SocketAddress) {
        if let place = place(address) { candidates[place].attempts += 1 }
        betterTries?.servers -= 1
        lameTries?.servers -= 1
    }

    /// The attempt doesn't count, once: the server is asked otherwise.
    mutating func again(_ address: SocketAddress) {
        guard let place = place(address), !candidates[place].isRepeated else { return }
        candidates[place].isRepeated = true
        candidates[place].attempts = 0
    }

    /// There is an answer, for want of a better one: a few others are asked, each once.
    mutating func settle() {
        if betterTries == nil { betterTries = (servers: 3, lookups: 2) }
    }

    mutating func exclude(_ address: SocketAddress) { candidates.removeAll { $0.address == address } }
}
