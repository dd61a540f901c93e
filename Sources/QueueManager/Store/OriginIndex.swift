import DequeModule
import Spool

/// Which messages came with an `origin`: a submission with the same one is the same message. Remembers messages for a
/// while after they left.
struct OriginIndex {
    private var ids = PartedDictionary<String, MessageID>()
    private var gone: Deque<(time: Int64, origin: String)> = []

    /// How long an origin is remembered after its message left. Milliseconds.
    static let memory: Int64 = 15 * 60_000
    private static let maximumGone = 100_000
    /// How many are forgotten for each that is added, at most: they may have come to their time together.
    private static let forgottenAtOnce = 16

    subscript(origin: String) -> MessageID? { ids[origin] }

    mutating func insert(_ origin: String, _ id: MessageID) { ids[origin] = id }

    /// The message has left the queue.
    mutating func left(_ origin: String, at time: Int64) {
        gone.append((time, origin))
        for _ in 0..<Self.forgottenAtOnce {
            guard let first = gone.first, first.time + Self.memory < time || gone.count > Self.maximumGone else {
                return
            }
            gone.removeFirst()
            ids[first.origin] = nil
        }
    }
}
