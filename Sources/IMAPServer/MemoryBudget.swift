import NIOConcurrencyHelpers

/// Memory that commands of all sessions may take together for what they put in order: each has its own limit, but there may be
/// thousands of them.
final class MemoryBudget: Sendable {
    private let free: NIOLockedValueBox<Int>

    /// - Parameter maximum: octets.
    init(_ maximum: Int) { free = NIOLockedValueBox(maximum) }

    /// Octets that nobody has taken.
    var available: Int { free.withLockedValue { $0 } }

    /// Takes as much, or nothing where there isn't as much.
    fileprivate func take(_ octets: Int) -> Bool {
        free.withLockedValue { free in
            guard octets <= free else { return false }
            free -= octets
            return true
        }
    }

    fileprivate func giveBack(_ octets: Int) { free.withLockedValue { $0 += octets } }
}

/// What one command has taken of a budget; given back at the latest when it goes away. Used by one thread at a time.
final class MemoryShare {
    private let budget: MemoryBudget
    private let maximum: Int
    private var taken = 0

    /// What is taken at once, so that the lock is rarely asked for. Octets.
    private static let step = 64 * 1024

    /// - Parameter maximum: what this command may have. Octets.
    init(of budget: MemoryBudget, maximum: Int) {
        self.budget = budget
        self.maximum = maximum
    }

    deinit { giveBack() }

    /// Takes what is missing to so many octets; false where that is more than there is or than the command may have.
    func cover(_ octets: Int) -> Bool {
        guard octets > taken else { return true }
        let wanted = (octets + Self.step - 1) / Self.step * Self.step
        guard octets <= maximum, budget.take(wanted - taken) else { return false }
        taken = wanted
        return true
    }

    func giveBack() {
        budget.giveBack(taken)
        taken = 0
    }
}
