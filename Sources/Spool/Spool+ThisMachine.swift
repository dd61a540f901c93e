import Files
import NIOConcurrencyHelpers
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

extension Spool.Host {
    /// The kernel's file system, threads of the spool's own, and the machine's clock.
    ///
    /// - Parameter loop: where completions are called.
    package static func thisMachine(loop: any EventLoop) -> Spool.Host {
        // Names must not come again, which needs no secret.
        let generator = NIOLockedValueBox(SplitMix64())
        return Spool.Host(
            disk: KernelFileSystem(),
            workers: SpoolThreads(loop: loop),
            microseconds: {
                var now = timespec()
                clock_gettime(CLOCK_REALTIME, &now)
                return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
            },
            random: { generator.withLockedValue { $0.next() } }
        )
    }
}
