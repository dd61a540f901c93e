import SMTP

/// The jobs of one destination that are due, in three classes by the priority that their senders gave them (RFC 6710): each
/// class in turns of its senders. Higher ones go first, but never hold up lower ones for good.
struct PriorityLines {
    /// Above 0, 0, below 0.
    private var lines = [SenderLines(), SenderLines(), SenderLines()]
    /// How often a class went first in a row while lower ones waited.
    private var turns = [0, 0]

    /// After so many jobs of a class, a lower one has its turn.
    private static let turnsInARow = 4

    private static func rank(_ job: DeliveryJob) -> Int {
        let priority = job.message.terms.priority
        return priority > 0 ? 0 : priority == 0 ? 1 : 2
    }

    /// Jobs that are ready; those that went elsewhere meanwhile don't count.
    var count: Int { lines[0].count + lines[1].count + lines[2].count }

    var isEmpty: Bool { count == 0 }

    /// Has that sender of the first class go next who would get the lowest turn, and names it.
    mutating func bringForward(_ turn: (String) -> Int) -> String? {
        lines.firstIndex { !$0.isEmpty }.flatMap { lines[$0].bringForward(turn) }
    }

    /// - Parameter first: whether it comes before the sender's other jobs.
    mutating func append(_ job: DeliveryJob, first: Bool = false) { lines[Self.rank(job)].append(job, first: first) }

    /// The next job, which is in no line any more.
    mutating func popFirst() -> DeliveryJob? {
        for rank in lines.indices where !lines[rank].isEmpty {
            let isAlone = lines[(rank + 1)...].allSatisfy(\.isEmpty)
            if isAlone {
                if rank < turns.count { turns[rank] = 0 }
                return lines[rank].popFirst()
            }
            guard turns[rank] < Self.turnsInARow else {
                turns[rank] = 0
                continue
            }
            turns[rank] += 1
            return lines[rank].popFirst()
        }
        return nil
    }

    /// A job goes elsewhere; its place in the line is passed over.
    mutating func remove(_ job: DeliveryJob) { lines[Self.rank(job)].remove(job) }
}
