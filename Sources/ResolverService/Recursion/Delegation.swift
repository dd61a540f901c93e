import DNS
import NIOCore

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
    let proof: [ResourceRecord]
    /// Until when it counts; by the resolver's clock.
    let expires: Int64
    /// Servers that don't serve the zone, and until when they aren't asked for it.
    private var lame: [SocketAddress: Int64] = [:]
    /// What each question about the zone begins with.
    private var known: (addresses: [SocketAddress], unresolved: [DomainName])?

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
        self.zone = zone
        self.hosts = Array(hosts.shuffled().prefix(Self.maximumHosts))
        self.addresses = addresses
        self.proof = proof
        self.expires = expires
    }

    /// Whether an address may be asked: what the administrator named is asked wherever it is.
    func allows(_ address: SocketAddress, _ policy: AddressPolicy) -> Bool {
        expires == .max || policy.mayAsk(address)
    }

    /// The known addresses that may be asked, each once, and the names of the servers that have none yet.
    func askable(_ policy: AddressPolicy) -> (addresses: [SocketAddress], unresolved: [DomainName]) {
        if let known { return known }
        var found: (addresses: [SocketAddress], unresolved: [DomainName]) = ([], [])
        for host in hosts {
            guard let given = addresses[host] else {
                found.unresolved.append(host)
                continue
            }
            for address in given where allows(address, policy) {
                if !found.addresses.contains(address) { found.addresses.append(address) }
            }
        }
        known = found
        return found
    }

    func isLame(_ server: SocketAddress, now: Int64) -> Bool {
        guard let until = lame[server] else { return false }
        return now < until
    }

    /// Doesn't ask a server about the zone for a while.
    func avoid(_ server: SocketAddress, until: Int64) {
        guard lame.count < Self.maximumHosts * Self.maximumAddresses else { return }
        lame[server] = until
    }

    /// What it takes in memory, about. Octets.
    var cost: Int {
        let names = hosts.reduce(0) { $0 + memoryCost(ofOctets: $1.wireCount) }
        let records = proof.reduce(0) { $0 + MemoryLayout<ResourceRecord>.stride + memoryCost(ofOctets: $1.data.count) }
        return 400 + 3 * names + 200 * addresses.values.reduce(0) { $0 + $1.count } + records
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
        guard let delegation = known.value(for: zone) else { return nil }
        if now < delegation.expires { return delegation }
        known.remove(zone)
        return nil
    }

    mutating func keep(_ delegation: Delegation) {
        known.insert(delegation, for: delegation.zone, cost: delegation.cost)
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
