import NIOCore
import Network
import Spool

/// Finds every message in the spool after a start, while new ones are taken already. What can't be read now is tried again
/// until it can: it's never taken for not being there.
struct QueueRecovery {
    let queue: Queue

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

    private static let firstPause = TimeAmount.milliseconds(500)
    private static let longestPause = TimeAmount.minutes(1)

    /// Returns how many messages there were, once all of them are known.
    func run() async -> Int {
        var count = 0
        var pause = Self.firstPause
        var places: [Place] = [.held] + (0..<MessageID.shards).map { .shard($0) }
        while true {
            var again: [Place] = []
            for place in places where !queue.isClosed {
                if await !look(at: place, &count) { again.append(place) }
            }
            places = again
            if places.isEmpty || queue.isClosed { return count }
            queue.arrivals.forgetElsewhere()
            await queue.loop.pause(pause)
            pause = min(pause * 2, Self.longestPause)
        }
    }

    /// Adds what is there; returns whether all of it could be read.
    private func look(at place: Place, _ count: inout Int) async -> Bool {
        let ids: [MessageID]
        do throws(SpoolError) {
            ids = try await queue.spool.perform { (spool) throws(SpoolError) in
                switch place {
                case .held: try spool.heldMessages()
                case .shard(let shard): try spool.messages(shard: shard)
                }
            }
        } catch {
            queue.log.unlisted(place.name, "\(error)")
            return false
        }
        var isComplete = true
        for id in ids where queue.store[id] == nil && !queue.arrivals.contains(id) {
            switch await add(id, isHeld: place == .held) {
            case true?: count += 1
            case false?: break
            case nil: isComplete = false
            }
        }
        if isComplete, case .shard(let shard) = place { queue.arrivals.shardWasRead(shard) }
        return isComplete
    }

    /// Whether there was such a message; nil where that isn't known.
    private func add(_ id: MessageID, isHeld: Bool) async -> Bool? {
        do throws(SpoolError) {
            let found = try await queue.spool.perform { (spool) throws(SpoolError) in
                Found(
                    content: try spool.content(of: id, isHeld: isHeld, verified: false),
                    state: try spool.state(of: id)
                )
            }
            queue.add(found.content.head, state: found.state, isHeld: found.content.isHeld)
            return true
        } catch {
            switch error {
            case .corrupt(let reason):
                queue.log.corrupt(id, reason)
                return await setCorrupt(id) ? false : nil
            case .missing:
                // It left meanwhile.
                return false
            case .full, .failed, .broken, .owned:
                queue.log.unreadable(id, "\(error)")
                return nil
            }
        }
    }

    private func setCorrupt(_ id: MessageID) async -> Bool {
        await withCheckedContinuation { continuation in
            queue.spool.setCorrupt(id) { continuation.resume(returning: $0 == nil) }
        }
    }
}
