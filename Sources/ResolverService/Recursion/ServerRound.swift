import DNS
import NIOCore

/// The servers of one zone that may answer one question, and how often each was asked.
struct ServerRound {
    private(set) var candidates: [Candidate] = []
    private var unresolved: [DomainName]
    private let zone: Delegation
    private let policy: AddressPolicy

    /// A server that may answer.
    struct Candidate {
        let address: SocketAddress
        /// How often it was asked.
        fileprivate(set) var attempts = 0
        fileprivate var isRepeated = false
    }

    /// How often one server is asked.
    static let maximumAttempts = 3

    init(_ zone: Delegation, _ policy: AddressPolicy) {
        self.zone = zone
        self.policy = policy
        let known = zone.askable(policy)
        candidates = known.addresses.map { Candidate(address: $0) }
        unresolved = known.unresolved
    }

    /// Adds addresses that were looked up.
    mutating func add(_ addresses: [SocketAddress]) {
        for address in addresses where zone.allows(address, policy) && place(address) == nil {
            candidates.append(Candidate(address: address))
        }
    }

    /// A server's name whose address is not known yet; it isn't given again.
    mutating func takeUnresolved() -> DomainName? { unresolved.popLast() }

    private func place(_ address: SocketAddress) -> Int? { candidates.firstIndex { $0.address == address } }

    func attempts(_ address: SocketAddress) -> Int { place(address).map { candidates[$0].attempts } ?? 0 }

    mutating func count(_ address: SocketAddress) {
        if let place = place(address) { candidates[place].attempts += 1 }
    }

    /// The attempt doesn't count, once: the server is asked otherwise.
    mutating func again(_ address: SocketAddress) {
        guard let place = place(address), !candidates[place].isRepeated else { return }
        candidates[place].isRepeated = true
        candidates[place].attempts = 0
    }

    mutating func exclude(_ address: SocketAddress) { candidates.removeAll { $0.address == address } }
}
