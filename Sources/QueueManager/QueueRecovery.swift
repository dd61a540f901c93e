import NIOCore
import Network
import Spool

/// Finds every message in the spool after a start, while new ones are taken already. What can't be read now is tried again
/// until it can: it's never taken for not being there.
struct QueueRecovery {
    let scheduler: Scheduler

    private struct Found: Sendable {
        var head: QueueFileHead
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
            for place in places where !scheduler.isClosed {
                if await !look(at: place, &count) { again.append(place) }
            }
            places = again
            if places.isEmpty || scheduler.isClosed { return count }
            scheduler.forgetArrivalsElsewhere()
            await scheduler.loop.pause(pause)
            pause = min(pause * 2, Self.longestPause)
        }
    }

    /// Adds what is there; returns whether all of it could be read.
    private func look(at place: Place, _ count: inout Int) async -> Bool {
        let spool = scheduler.spool
        let ids: [MessageID]
        do {
            ids = try await scheduler.offLoop { () throws(SpoolError) in
                switch place {
                case .held: try spool.heldMessages()
                case .shard(let shard): try spool.messages(shard: shard)
                }
            }
        } catch {
            scheduler.log.unlisted(place.name, "\(error)")
            return false
        }
        var isComplete = true
        for id in ids where scheduler.table[id] == nil && !scheduler.hasArrived(id) {
            switch await add(id, isHeld: place == .held) {
            case true?: count += 1
            case false?: break
            case nil: isComplete = false
            }
        }
        if isComplete, case .shard(let shard) = place { scheduler.shardWasRead(shard) }
        return isComplete
    }

    /// Whether there was such a message; nil where that isn't known.
    private func add(_ id: MessageID, isHeld: Bool) async -> Bool? {
        let spool = scheduler.spool
        do {
            let found = try await scheduler.offLoop { () throws(SpoolError) in
                Found(head: try spool.head(of: id, isHeld: isHeld, verified: false), state: try spool.state(of: id))
            }
            scheduler.add(found.head, state: found.state, isHeld: isHeld, isNew: false)
            return true
        } catch .corrupt(let reason) {
            scheduler.log.corrupt(id, reason)
            try? await scheduler.offLoop { () throws(SpoolError) in try spool.setCorrupt(id, isHeld: isHeld) }
            return false
        } catch .missing {
            // It left meanwhile.
            return false
        } catch {
            scheduler.log.unreadable(id, "\(error)")
            return nil
        }
    }
}
