import DNS
import NIOCore

/// The servers of one zone that may answer one question, and how often each was asked.
struct ServerRound {
    private(set) var candidates: [SocketAddress] = []
    private var unresolved: [DomainName]
    private var asked: [SocketAddress: Int] = [:]
    private var repeated: Set<SocketAddress> = []
    private let policy: AddressPolicy
    private let isConfigured: Bool

    /// How often one server is asked.
    static let maximumAttempts = 3

    init(_ zone: Delegation, _ settings: ResolverSettings) {
        policy = settings.addresses
        isConfigured = zone.expires == .max
        unresolved = []
        for host in zone.hosts {
            if let known = zone.addresses[host] { add(known) } else { unresolved.append(host) }
        }
    }

    /// Adds addresses that were looked up.
    mutating func add(_ addresses: [SocketAddress]) {
        // What the administrator named is asked wherever it is.
        for address in addresses where isConfigured || policy.mayAsk(address) {
            if !candidates.contains(address) { candidates.append(address) }
        }
    }

    /// A server's name whose address is not known yet; it isn't given again.
    mutating func takeUnresolved() -> DomainName? { unresolved.popLast() }

    func attempts(_ address: SocketAddress) -> Int { asked[address, default: 0] }

    mutating func count(_ address: SocketAddress) { asked[address, default: 0] += 1 }

    /// The attempt doesn't count, once: the server is asked otherwise.
    mutating func again(_ address: SocketAddress) {
        if repeated.insert(address).inserted { asked[address] = 0 }
    }

    mutating func exclude(_ address: SocketAddress) { candidates.removeAll { $0 == address } }
}
