import NIOCore
import SMTP
import Spool

/// Work on more messages than one turn of the loop should be about.
extension Queue {
    /// Goes through what an index leads to, some messages in each turn.
    struct Walk {
        var messages: MessageWalk
        /// Returns false where the rest need not be looked at.
        let visit: (QueuedMessage) -> Bool
        let done: () -> Void
    }

    /// How many messages are visited in one turn.
    private static let visitedAtOnce = 200

    /// Begins a walk. What comes meanwhile may be visited or not; what leaves isn't.
    ///
    /// - Parameters:
    ///   - visit: returns false where the rest need not be looked at.
    ///   - done: told when it's over, also because the queue was closed.
    func walk(
        _ index: MessageStore.Index,
        _ visit: @escaping (QueuedMessage) -> Bool,
        done: @escaping () -> Void = {}
    ) {
        loop.assertInEventLoop()
        walks.append(Walk(messages: MessageWalk(index), visit: visit, done: done))
        if walks.count == 1 { later { [weak self] in self?.goOnWalking() } }
    }

    private func goOnWalking() {
        loop.assertInEventLoop()
        // One after the other: what is begun together doesn't take its turns together.
        guard var walk = walks.first else { return }
        var isOver = isClosed
        if !isOver, let ids = walk.messages.next(Self.visitedAtOnce, in: store) {
            for id in ids where !isOver {
                if let message = store[id], !walk.visit(message) { isOver = true }
            }
        } else {
            isOver = true
        }
        walks.removeFirst()
        if isOver { walk.done() } else { walks.append(walk) }
        if !walks.isEmpty { later { [weak self] in self?.goOnWalking() } }
    }

    /// Has something done after the loop has looked after everybody else.
    func later(_ work: @escaping @Sendable () -> Void) { clock.turn(loop, work) }

    // MARK: What is gone through

    /// Has what waits at a destination tried now, or everything.
    ///
    /// - Parameter done: told how many deliveries that will be.
    package func flush(destination: String?, done: @escaping (Int) -> Void = { _ in }) {
        loop.assertInEventLoop()
        let number = schedule.failureCount
        var count = 0
        walk(destination.map { .destination($0) } ?? .all) { [self] message in
            for job in message.jobs where destination.map({ job.destination == $0 }) ?? true {
                if schedule.flush(job, before: number, at: clock.now()) { count += 1 }
            }
            schedulePump()
            return true
        } done: {
            done(count)
        }
    }

    /// Gives up what has waited past its time for a destination that can't be reached: it would fail as the last attempt there
    /// did. Tells senders of what is late and has no turn.
    func lookForLate(at destination: Destination) {
        let name = destination.name
        guard sweptDestinations.insert(name).inserted else { return }
        walk(.destination(name)) { [self] message in
            // Once it's reached, everybody has his turn.
            guard let failure = schedule.destinations[name]?.failure else { return false }
            let now = clock.now()
            for job in message.jobs where job.destination == name && job.phase == .ready && now >= expiry(of: job) {
                // What is paused waits for its time, however old it is.
                guard schedule.pauses.pause(of: job) == nil else { continue }
                schedule.withdraw(job, at: now)
                conclude(job, failure)
            }
            warnOfDelay(message, at: name)
            return true
        } done: { [self] in
            sweptDestinations.remove(name)
        }
    }
}
