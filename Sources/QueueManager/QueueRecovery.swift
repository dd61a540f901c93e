import DequeModule
import NIOConcurrencyHelpers
import NIOCore
import Spool

/// Finds every message in the spool after a start, while new ones are taken already. What can't be read now is tried again
/// until it can: it's never taken for not being there. Belongs to the queue's event loop.
package final class QueueRecovery: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    private struct Found: Sendable {
        var content: Spool.Content
        var state: [StateEntry]
    }

    /// A directory of the spool.
    private enum Place: Equatable {
        case held
        case shard(Int)

        var name: String {
            switch self {
            case .held: "hold"
            case .shard(let shard): "queue/\(MessageID.directory(shard))"
            }
        }
    }

    private let queue: Queue
    /// What is still to be read in this round, and what has to be read again in the next one.
    private var places: Deque<Place>
    private var again: Deque<Place> = []
    private var pause = QueueRecovery.firstPause
    private var count = 0
    private let done: (Int) -> Void
    /// What was read last and is not needed any more. It's freed by who allocated it: the loop would wait for the allocator, and
    /// so for a thread that may not be running.
    private var spent = NIOLockedValueBox<[Result<Found, SpoolError>]>([])

    /// How many messages are read at a time, and added in one turn of the loop.
    private static let read = 16
    private static let firstPause = TimeAmount.milliseconds(500)
    private static let longestPause = TimeAmount.minutes(1)

    /// - Parameters:
    ///   - shards: how many of the spool's directories are looked at; fewer than there are only in tests.
    ///   - done: told how many messages there were, once all of them are known or the queue is closed.
    package init(queue: Queue, shards: Int = MessageID.shards, done: @escaping (Int) -> Void) {
        self.queue = queue
        self.done = done
        places = [.held]
        places.append(contentsOf: (0..<shards).map { .shard($0) })
    }

    /// Begins. It keeps itself alive until it's done.
    package func start() { goOn() }

    private func goOn() {
        queue.loop.assertInEventLoop()
        if queue.isClosed { return done(count) }
        guard let place = places.popFirst() else { return endRound() }
        queue.spool.perform { (spool) throws(SpoolError) in
            switch place {
            case .held: try spool.heldMessages()
            case .shard(let shard): try spool.messages(shard: shard)
            }
        } done: { [self] result in
            switch result {
            case .success(let ids): add(ids[...], of: place, isComplete: true)
            case .failure(let error):
                queue.log.unlisted(place.name, "\(error)")
                again.append(place)
                goOn()
            }
        }
    }

    private func endRound() {
        if again.isEmpty { return done(count) }
        (places, again) = (again, [])
        queue.loop.scheduleTask(in: pause) { [self] in goOn() }
        pause = min(pause * 2, Self.longestPause)
    }

    /// Adds what was found at a place, some messages after the others.
    ///
    /// - Parameter isComplete: whether those before could be read.
    private func add(_ ids: ArraySlice<MessageID>, of place: Place, isComplete: Bool) {
        let batch = ids.prefix(Self.read).filter { queue.store[$0] == nil && !queue.arrivals.contains($0) }
        let rest = ids.dropFirst(Self.read)
        if batch.isEmpty, !rest.isEmpty, !queue.isClosed { return add(rest, of: place, isComplete: isComplete) }
        guard !batch.isEmpty, !queue.isClosed else {
            if !isComplete {
                again.append(place)
            } else if case .shard(let shard) = place {
                queue.arrivals.shardWasRead(shard)
            }
            return goOn()
        }
        let spent = spent
        queue.spool.perform { (spool) throws(SpoolError) in
            spent.withLockedValue { $0 = [] }
            return batch.map { id -> Result<Found, SpoolError> in
                do throws(SpoolError) {
                    let content = try spool.content(of: id, isHeld: place == .held, verified: false)
                    return .success(Found(content: content, state: try spool.state(of: id)))
                } catch {
                    return .failure(error)
                }
            }
        } done: { [self] result in
            let found = (try? result.get()) ?? []
            self.spent = NIOLockedValueBox(found)
            register(Array(zip(batch, found))[...], isComplete: isComplete) { isComplete in
                self.add(rest, of: place, isComplete: isComplete)
            }
        }
    }

    /// Adds messages that were read to the queue, one after the other.
    private func register(
        _ found: ArraySlice<(MessageID, Result<Found, SpoolError>)>,
        isComplete: Bool,
        next: @escaping @Sendable (Bool) -> Void
    ) {
        guard let (id, result) = found.first, !queue.isClosed else { return next(isComplete) }
        register(id, result) { isKnown in
            self.register(found.dropFirst(), isComplete: isComplete && isKnown, next: next)
        }
    }

    /// Adds a message that was read to the queue.
    ///
    /// - Parameter next: told whether it's known now what became of the message.
    private func register(
        _ id: MessageID,
        _ result: Result<Found, SpoolError>,
        next: @escaping @Sendable (Bool) -> Void
    ) {
        switch result {
        case .success(let found):
            queue.add(found.content.head, state: found.state, isHeld: found.content.isHeld)
            count += 1
            next(true)
        case .failure(.corrupt(let reason)):
            queue.log.corrupt(id, reason)
            queue.spool.setCorrupt(id) { next($0 == nil) }
        case .failure(.missing):
            // It left meanwhile.
            next(true)
        case .failure(let error):
            queue.log.unreadable(id, "\(error)")
            next(false)
        }
    }
}
