import Network
import Spool

/// Finds every message in the spool after a start, while new ones are taken already.
struct QueueRecovery {
    let scheduler: Scheduler
    /// Messages with a later ID have come since the start, and are known.
    let start: MessageID

    private struct Found: Sendable {
        var head: QueueFileHead
        var state: [StateEntry]
    }

    /// Returns how many messages there were.
    func run() async -> Int {
        var count = 0
        let held = await list { $0.heldMessages() }
        count += await add(held, isHeld: true)
        for shard in 0..<MessageID.shards {
            if scheduler.isClosed { break }
            count += await add(await list { $0.messages(shard: shard) }, isHeld: false)
        }
        return count
    }

    private func list(_ list: @escaping @Sendable (Spool) -> [MessageID]) async -> [MessageID] {
        let (spool, start) = (scheduler.spool, start)
        return (try? await scheduler.offLoop { () throws(SpoolError) in list(spool).filter { $0 < start } }) ?? []
    }

    private func add(_ ids: [MessageID], isHeld: Bool) async -> Int {
        let spool = scheduler.spool
        for id in ids {
            do {
                let found = try await scheduler.offLoop { () throws(SpoolError) in
                    Found(head: try spool.head(of: id, isHeld: isHeld, verified: false), state: try spool.state(of: id))
                }
                scheduler.add(found.head, state: found.state, isHeld: isHeld, isNew: false)
            } catch .corrupt(let reason) {
                scheduler.log.corrupt(id, reason)
                try? await scheduler.offLoop { () throws(SpoolError) in try spool.setCorrupt(id, isHeld: isHeld) }
            } catch {
                scheduler.log.unreadable(id, "\(error)")
            }
        }
        return ids.count
    }
}
