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
        // Names must not come again, which needs no secret: the kernel is asked once.
        let state = NIOLockedValueBox(UInt64.random(in: 0 ... .max))
        return Spool.Host(
            disk: KernelFileSystem(),
            workers: SpoolThreads(loop: loop),
            microseconds: {
                var now = timespec()
                clock_gettime(CLOCK_REALTIME, &now)
                return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
            },
            random: {
                state.withLockedValue { state in
                    // SplitMix64: every state has another number.
                    state &+= 0x9E37_79B9_7F4A_7C15
                    var bits = state
                    bits = (bits ^ bits >> 30) &* 0xBF58_476D_1CE4_E5B9
                    bits = (bits ^ bits >> 27) &* 0x94D0_49BB_1331_11EB
                    return bits ^ bits >> 31
                }
            }
        )
    }
}
