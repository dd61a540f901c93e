import Caching
import DNS
import NIOCore
import Network

/// A server's name, and the types of addresses to look up, in this order until there is one.
struct HostLookup {
    var host: DomainName
    var types: [RecordType]
}

/// The servers of one zone, as its parent names them (or a hint, or the administrator). Belongs to one event loop.
///
/// Only the parent's word counts, and it is asked again when its time to live ends: a zone can't keep itself alive after
/// its parent took it away. Addresses that came with the names serve to reach these servers and for nothing else; they
/// are never given to a client.
final class Delegation {
    let zone: DomainName
    /// The servers' names, in an order of chance.
    let hosts: [DomainName]
    /// Addresses that the parent gave with the names, or that were configured.
    let addresses: [DomainName: [SocketAddress]]
    /// The DS records of the zone, or the proof that there are none, with signatures.
    var proof: [ResourceRecord]
    /// Until when it counts; by the resolver's clock.
    let expires: Int64
    /// Who gave it, so that another server is asked where its proof is bogus.
    var informant: Informant?
    /// How servers have done that failed lately: those that aren't in it are as good as any.
    private var standings: [SocketAddress: Standing] = [:]
    /// When a server last said something about the zone.
    private var lastAnswer = Int64.min
    /// Until when answers without authority are as good as others, since no server gave a better one.
    private var unauthoritativeUntil = Int64.min
    /// Until when it's known that all servers fail at the whole zone.
    private var lameUntil = Int64.min
    /// What each question about the zone begins with.
    private var known: Known?

    /// A server, and the zone for which it was asked.
    struct Informant {
        var server: SocketAddress
        var zone: DomainName
    }

    /// How one server has done for the zone.
    private struct Standing {
        /// Whether it has said anything about the zone.
        var hasAnswered = false
        /// Useless answers in a row, to whatever question.
        var failures = 0
        /// Until when others are asked first.
        var asideUntil = Int64.min
        /// The same, because what it said was bogus.
        var doubtedUntil = Int64.min
    }

    /// The known addresses that may be asked, each once, and what else may be looked up.
    struct Known {
        var addresses: [SocketAddress] = []
        /// Names of servers without an address.
        var unresolved: [HostLookup] = []
        /// Addresses of the other family.
        var others: [HostLookup] = []
    }

    /// The first time for which others are asked before a server that is useless for the zone; it doubles. Seconds.
    private static let firstAside: Int64 = 30
    private static let doublings = 5
    /// So many useless answers in a row say that a server that has answered for the zone doesn't any more.
    private static let patience = 3
    /// For how long others are asked before a server that gave something bogus. Seconds.
    private static let doubtTime: Int64 = 60
    /// For how long it's remembered that all servers failed (RFC 9520 §3.2: from a second to five minutes). Seconds.
    private static let lameTime: Int64 = 10

    /// How many servers of a zone are looked at: more make nothing better, and cost the work of many (NRDelegationAttack).
    static let maximumHosts = 13
    /// How many addresses each of them may have.
    static let maximumAddresses = 4

    init(
        zone: DomainName,
        hosts: some Collection<DomainName>,
        addresses: [DomainName: [SocketAddress]],
        proof: [ResourceRecord] = [],
        expires: Int64 = .max
    ) {
        self.zone = zone.compacted
        self.hosts = Array(hosts.shuffled().prefix(Self.maximumHosts))
        self.addresses = addresses
        self.proof = proof
        self.expires = expires
    }

    /// Whether an address may be asked: what the administrator named is asked wherever it is.
    func allows(_ address: SocketAddress, _ policy: AddressPolicy) -> Bool {
        expires == .max || policy.mayAsk(address)
    }

    /// Where to begin.
    func askable(_ policy: AddressPolicy) -> Known {
        if let known { return known }
        var found = Known()
        let usable: [RecordType] = (policy.usesIPv4 ? [.a] : []) + (policy.usesIPv6 ? [.aaaa] : [])
        for host in hosts {
            let given = addresses[host] ?? []
            let allowed = given.filter { allows($0, policy) }
            for address in allowed where !found.addresses.contains(address) { found.addresses.append(address) }
            // What the administrator configured is all that there is.
            guard expires != .max else { continue }
            let missing = usable.filter { type in !given.contains { $0.addressOctets?.count == (type == .a ? 4 : 16) } }
            guard !missing.isEmpty else { continue }
            let lookup = HostLookup(host: host, types: missing)
            if allowed.isEmpty {
                found.unresolved.append(lookup)
            } else if !host.isSubdomain(of: zone) {
                // A zone's own servers, where they don't do, aren't asked for more addresses of themselves.
                found.others.append(lookup)
            }
        }
        known = found
        return found
    }

    // MARK: How servers do

    /// Whether others are asked first about the zone. Nobody is left out for good: of one server alone a bad answer says
    /// something about one question, and the last server that is left is asked all the same.
    func isAside(_ server: SocketAddress, now: Int64) -> Bool {
        guard !standings.isEmpty, let standing = standings[server] else { return false }
        return now < standing.asideUntil || now < standing.doubtedUntil
    }

    /// A server said something about the zone.
    func answered(by server: SocketAddress, now: Int64) {
        lastAnswer = now
        lameUntil = .min
        let standing = standings[server]
        guard standing == nil || standing?.failures ?? 0 > 0 else { return }
        guard hasPlace(for: server, now) else { return }
        standings[server, default: Standing()].hasAnswered = true
        standings[server]?.failures = 0
        standings[server]?.asideUntil = .min
    }

    /// A server refused a question about the zone, failed at it, or isn't its authority.
    func failed(_ server: SocketAddress, now: Int64) {
        guard hasPlace(for: server, now) else { return }
        var standing = standings[server] ?? Standing()
        standing.failures += 1
        let excess = standing.failures - (standing.hasAnswered ? Self.patience : 1)
        if excess >= 0 { standing.asideUntil = now + Self.firstAside << Int64(min(excess, Self.doublings)) }
        standings[server] = standing
    }

    /// What a server said about the zone was bogus.
    func doubt(_ server: SocketAddress, now: Int64) {
        guard hasPlace(for: server, now) else { return }
        standings[server, default: Standing()].doubtedUntil = now + Self.doubtTime
    }

    /// Whether it may be noted how a server does. Where there is no place those go that nothing is held against now.
    private func hasPlace(for server: SocketAddress, _ now: Int64) -> Bool {
        if standings[server] != nil || standings.count < Self.maximumServers { return true }
        standings = standings.filter { now < $0.value.asideUntil || now < $0.value.doubtedUntil }
        return standings.count < Self.maximumServers
    }

    /// That all servers failed at a question, and none has answered any of late.
    func failedAltogether(now: Int64) { lameUntil = now + Self.lameTime }

    /// Whether that was a moment ago: few servers are asked then, until one answers.
    func isLame(now: Int64) -> Bool { now < lameUntil }

    /// Takes over how servers have done, where the parent has named the same ones as before.
    func takeOver(_ former: Delegation) {
        guard former !== self, former.zone == zone else { return }
        let mine = Set(addresses.values.joined())
        guard mine == Set(former.addresses.values.joined()), !mine.isEmpty || Set(hosts) == Set(former.hosts) else {
            return
        }
        standings = former.standings
        lastAnswer = former.lastAnswer
        unauthoritativeUntil = former.unauthoritativeUntil
        lameUntil = former.lameUntil
    }

    /// Whether a server has said something about the zone of late, so that a question that all fail at isn't the zone's fault.
    func hasAnswered(lately now: Int64) -> Bool { lastAnswer > now - Self.firstAside }

    /// That no server gave an answer with authority.
    func settleForLess(now: Int64) { unauthoritativeUntil = now + Self.firstAside }

    func takesLess(now: Int64) -> Bool { now < unauthoritativeUntil }

    private static let maximumServers = maximumHosts * maximumAddresses

    /// What it takes in memory, about. Octets.
    var cost: Int {
        let names = hosts.reduce(0) { $0 + memoryCost(ofOctets: $1.wireCount) }
        let records = proof.reduce(0) { $0 + MemoryLayout<ResourceRecord>.stride + memoryCost(ofOctets: $1.data.count) }
        return 500 + 3 * names + 200 * addresses.values.reduce(0) { $0 + $1.count } + records
    }
}

/// The delegations that one event loop knows.
struct DelegationCache {
    private var known: BoundedCache<DomainName, Delegation>
    private let fixed: [DomainName: Delegation]

    /// - Parameters:
    ///   - limit: octets.
    ///   - fixed: stub zones, whose servers the administrator named.
    init(limit: Int, fixed: [DomainName: Delegation]) {
        known = BoundedCache(limit: limit)
        self.fixed = fixed
    }

    /// The servers of the zone that is nearest above a name, the name itself included; nil where not even the root's
    /// are known.
    mutating func closest(to name: DomainName, now: Int64) -> Delegation? {
        var next: DomainName? = name
        while let zone = next {
            if let delegation = self.delegation(of: zone, now: now) { return delegation }
            next = zone.parent
        }
        return nil
    }

    /// The servers of a zone.
    mutating func delegation(of zone: DomainName, now: Int64) -> Delegation? {
        if let delegation = fixed[zone] { return delegation }
        // One whose time is over stays until there is another: how its servers have done is worth knowing.
        guard let delegation = known.value(for: zone), now < delegation.expires else { return nil }
        return delegation
    }

    /// - Parameter former: the one that was forgotten for it.
    mutating func keep(_ delegation: Delegation, after former: Delegation? = nil) {
        let known = former?.zone == delegation.zone ? former : self.known.value(for: delegation.zone)
        if let known { delegation.takeOver(known) }
        self.known.insert(delegation, for: delegation.zone, cost: delegation.cost)
    }

    /// Forgets a zone's servers; false where they are configured.
    mutating func forget(_ zone: DomainName) -> Bool {
        guard fixed[zone] == nil else { return false }
        known.remove(zone)
        return true
    }

    mutating func removeAll() { known.removeAll() }

    var octets: Int { known.total }
}
