import Files
import HeapModule

/// What waits for a time, in many heaps: none grows so large that to give it more room takes long, and they don't grow in the
/// same turn.
struct Alarms<Alarm: Comparable> {
    private var heaps = [Heap<Alarm>](repeating: Heap(), count: 64)
    private var chance = SplitMix64(seed: 0)

    mutating func insert(_ alarm: Alarm) {
        // By chance, so that they don't come to the same size together.
        heaps[Int(truncatingIfNeeded: chance.next() % UInt64(heaps.count))].insert(alarm)
    }

    private var first: Int? {
        var best: (index: Int, alarm: Alarm)?
        for (index, heap) in heaps.enumerated() {
            guard let alarm = heap.min else { continue }
            if let known = best, known.alarm <= alarm { continue }
            best = (index, alarm)
        }
        return best?.index
    }

    var min: Alarm? { first.flatMap { heaps[$0].min } }

    /// Takes the first one out if it meets the condition.
    mutating func popMin(where condition: (Alarm) -> Bool) -> Alarm? {
        guard let first, let alarm = heaps[first].min, condition(alarm) else { return nil }
        heaps[first].removeMin()
        return alarm
    }
}
