import NIOCore
import SASL

/// A SCRAM login between the client's two messages.
struct ScramExchange: Sendable {
    var server: ScramServer
    let mechanism: ScramMechanism
    /// As the client wrote it.
    let user: String
    let service: String
    /// The client's address, and what counts as one client.
    let address: String
    let client: [UInt8]
    /// With what the client was told to hash its password.
    let salt: [UInt8]
    let iterations: Int
}

/// The SCRAM logins that were begun and not finished: a bounded number for each client and in all, for a short time. Where there are
/// too many the oldest go, a client's own first.
struct ScramExchanges {
    private var exchanges: [String: (exchange: ScramExchange, until: NIODeadline)] = [:]
    private var ofClient: [[UInt8]: [String]] = [:]
    private var order: CircularBuffer<String> = []
    private let lifetime: TimeAmount
    private let capacity: Int
    private let perClient: Int

    init(lifetime: TimeAmount = .minutes(3), capacity: Int = 10_000, perClient: Int = 100) {
        self.lifetime = lifetime
        self.capacity = capacity
        self.perClient = perClient
    }

    var count: Int { exchanges.count }

    /// Keeps an exchange.
    ///
    /// - Parameter name: that nobody can guess.
    mutating func add(_ exchange: ScramExchange, as name: String, now: NIODeadline) {
        while let first = order.first, exchanges[first].map({ $0.until <= now }) ?? true { drop(first) }
        if let own = ofClient[exchange.client], own.count >= perClient, let first = own.first { remove(first) }
        while exchanges.count >= capacity, let first = order.first { drop(first) }
        exchanges[name] = (exchange, now + lifetime)
        ofClient[exchange.client, default: []].append(name)
        order.append(name)
        // Those that were taken stay in the order for a while.
        if order.count > 2 * capacity { order = CircularBuffer(order.filter { exchanges[$0] != nil }) }
    }

    /// The exchange of that name, which is over with this message; nil where there is none (any more).
    mutating func take(_ name: String, now: NIODeadline) -> ScramExchange? {
        guard let (exchange, until) = exchanges[name] else { return nil }
        remove(name)
        return until > now ? exchange : nil
    }

    private mutating func drop(_ first: String) {
        _ = order.popFirst()
        remove(first)
    }

    private mutating func remove(_ name: String) {
        guard let client = exchanges.removeValue(forKey: name)?.exchange.client else { return }
        ofClient[client]?.removeAll { $0 == name }
        if ofClient[client]?.isEmpty == true { ofClient[client] = nil }
    }
}
