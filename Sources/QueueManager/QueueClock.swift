import Files
import NIOConcurrencyHelpers
import NIOCore
import Network

#if canImport(Glibc)
import Glibc
#endif

extension QueueClock {
    /// The machine's clock, and chance without a system call each time.
    package static var system: QueueClock {
        let generator = NIOLockedValueBox(SplitMix64())
        return QueueClock(
            now: {
                var now = timespec()
                clock_gettime(CLOCK_REALTIME, &now)
                return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
            },
            chance: { generator.withLockedValue { .random(in: 0...1, using: &$0) } },
            turn: { loop, work in
                Task(executorPreference: LoopExecutor.of(loop)) {
                    await loop.letOthersGo()
                    work()
                }
            }
        )
    }
}
