#if canImport(Glibc)
import Glibc
#endif

extension QueueClock {
    /// The machine's clock and randomness.
    package static let system = QueueClock(
        now: {
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
        },
        chance: { .random(in: 0...1) }
    )
}
