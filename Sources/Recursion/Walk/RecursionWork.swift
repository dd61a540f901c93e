import DNS
import NIOCore

/// What one question may still cost, with all the questions that it leads to: what stands against answers that are made
/// to let us work (NXNSAttack, chains of aliases, loops). Belongs to one event loop.
final class RecursionWork {
    /// When it's given up.
    let deadline: NIODeadline
    /// How many queries have been sent.
    private(set) var queries = 0
    private let maximumQueries: Int
    private var addressLookups = 0
    private var depth = 0
    private var active: Set<Outcome.Key> = []

    /// How many queries a question may cost.
    static let maximumQueries = 100
    /// How many names of servers may be looked up on its way (an NXNSAttack wants hundreds).
    private static let maximumAddressLookups = 16
    /// How deep one server's name may depend on another's.
    private static let maximumDepth = 6

    init(deadline: NIODeadline, maximumQueries: Int = RecursionWork.maximumQueries) {
        self.deadline = deadline
        self.maximumQueries = maximumQueries
    }

    var isLate: Bool { .now() >= deadline }

    /// Whether one more query may be sent.
    func takeQuery() -> Bool {
        guard queries < maximumQueries, !isLate else { return false }
        queries += 1
        return true
    }

    /// Begins the search for a server's address; false where that's once too often, too deep or in a circle.
    func begin(_ key: Outcome.Key) -> Bool {
        guard addressLookups < Self.maximumAddressLookups, depth < Self.maximumDepth, !active.contains(key) else {
            return false
        }
        addressLookups += 1
        depth += 1
        active.insert(key)
        return true
    }

    func end(_ key: Outcome.Key) {
        depth -= 1
        active.remove(key)
    }
}
