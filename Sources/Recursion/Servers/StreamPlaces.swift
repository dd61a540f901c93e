/// How many connections to servers of zones one event loop keeps.
final class StreamPlaces {
    private var free: Int

    init(_ count: Int = 256) { free = count }

    var isFree: Bool { free > 0 }

    /// Whether there was one.
    func take() -> Bool {
        guard isFree else { return false }
        free -= 1
        return true
    }

    func give() { free += 1 }
}
