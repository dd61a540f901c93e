import NIOCore

/// How many questions of each network wait for other servers on one event loop: what one client can take from others,
/// and the most that comes back to it at once (DNSBomb).
struct WaitingClients {
    private var counts: [ClientNetwork: Int] = [:]
    private let maximum: Int

    /// Who came by a stream or with a cookie isn't forged, and may be many.
    private static let provenFactor = 8
    /// An answer that took longer isn't sent by UDP where many wait: the client has asked again or gone, and one who
    /// gathers answers for another gets none.
    private static let latest = TimeAmount.milliseconds(1900)
    /// How many may wait however long it takes.
    private static let always = 32

    /// - Parameter maximum: questions of one network that may be forged.
    init(maximum: Int) {
        self.maximum = maximum
    }

    /// Counts a question; false where too many wait.
    mutating func begin(_ network: ClientNetwork, isProven: Bool) -> Bool {
        let count = counts[network, default: 0]
        guard count < (isProven ? maximum * Self.provenFactor : maximum) else { return false }
        counts[network] = count + 1
        return true
    }

    /// A question waits no more.
    ///
    /// - Parameter since: when it began to.
    /// - Returns: whether its answer may still go by UDP to one who may not have asked.
    mutating func end(_ network: ClientNetwork, since: NIODeadline) -> Bool {
        let count = counts[network, default: 1]
        counts[network] = count > 1 ? count - 1 : nil
        return count <= Self.always || .now() - since < Self.latest
    }

    /// How many wait.
    func count(_ network: ClientNetwork) -> Int { counts[network, default: 0] }
}
