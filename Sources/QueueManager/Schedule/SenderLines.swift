import DequeModule

/// The jobs of one destination that are due. Senders take turns, so that a mailing to thousands delays nobody else's
/// message by more than one delivery.
struct SenderLines {
    /// Senders who have jobs, in the order of their turns.
    private var turns: Deque<String> = []
    private var lines = PartedDictionary<String, Deque<DeliveryJob>>()

    /// Jobs that are ready; those that went elsewhere meanwhile don't count.
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// How many senders are looked at when one of them is brought forward.
    private static let lookedAt = 64

    /// Has the sender go next who would get the lowest turn, of those who stand in front, and names it.
    mutating func bringForward(_ turn: (String) -> Int) -> String? {
        let best = turns.indices.prefix(Self.lookedAt).min { turn(turns[$0]) < turn(turns[$1]) }
        if let best, best > turns.startIndex { turns.prepend(turns.remove(at: best)) }
        return turns.first
    }

    /// - Parameter first: whether it comes before the sender's other jobs.
    mutating func append(_ job: DeliveryJob, first: Bool = false) {
        job.phase = .ready
        count += 1
        let sender = job.message.sender
        if lines[sender] == nil {
            turns.append(sender)
            lines[sender] = [job]
        } else if first {
            lines[sender]?.prepend(job)
        } else {
            lines[sender]?.append(job)
        }
    }

    /// The next job, which is in no line any more.
    mutating func popFirst() -> DeliveryJob? {
        while let sender = turns.popFirst() {
            var next: DeliveryJob?
            while next == nil, let job = lines[sender]?.popFirst() {
                if job.phase == .ready { next = job }
            }
            if lines[sender]?.isEmpty ?? true { lines[sender] = nil } else { turns.append(sender) }
            guard let next else { continue }
            next.phase = .idle
            count -= 1
            return next
        }
        return nil
    }

    /// A job goes elsewhere; its place in the line is passed over.
    mutating func remove(_ job: DeliveryJob) {
        guard job.phase == .ready else { return }
        job.phase = .idle
        count -= 1
    }
}
