import Caching
import DNS
import NIOCore

/// Which servers failed at which questions of late. For those questions, and no others, they are asked last (RFC 2308 §7,
/// RFC 9520 §3). Belongs to one event loop.
struct ServerFaults {
    private struct Question: Hashable {
        var name: DomainName
        var type: RecordType
    }

    private struct Fault {
        var server: SocketAddress
        var until: Int64
    }

    private var known: BoundedCache<Question, [Fault]>

    /// How many servers are remembered for one question.
    private static let maximumServers = 16
    private static let cost = 64

    /// - Parameter limit: octets.
    init(limit: Int) {
        known = BoundedCache(limit: limit)
    }

    /// A server fails at a question.
    ///
    /// - Parameters:
    ///   - until: by the resolver's clock.
    ///   - now: the same clock's time.
    mutating func note(_ server: SocketAddress, _ key: Outcome.Key, until: Int64, now: Int64) {
        let question = Question(name: key.name.compacted, type: key.type)
        var faults = (known.value(for: question) ?? []).filter { now < $0.until && $0.server != server }
        guard faults.count < Self.maximumServers else { return }
        faults.append(Fault(server: server, until: until))
        known.insert(faults, for: question, cost: Self.cost * faults.count + memoryCost(ofOctets: key.name.wireCount))
    }

    /// The servers that fail at a question.
    mutating func servers(failingAt key: Outcome.Key, now: Int64) -> [SocketAddress] {
        guard known.count > 0, let faults = known.value(for: Question(name: key.name, type: key.type)) else {
            return []
        }
        return faults.filter { now < $0.until }.map(\.server)
    }

    mutating func removeAll() { known.removeAll() }

    /// What it takes now. Octets.
    var octets: Int { known.total }
}
