#if canImport(Glibc)
import Glibc
#endif

/// What time it is; tests set their own.
package struct Clocks: Sendable {
    /// Seconds since some moment, never going back.
    package var now: @Sendable () -> Int64 = {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec)
    }
    /// Seconds since 1970, modulo 2^32: what signatures' times are compared with (RFC 4034 §3.1.5).
    package var wallClock: @Sendable () -> UInt32 = { UInt32(truncatingIfNeeded: time(nil)) }
    /// Seconds since 1970: what the times of signed messages (RFC 8945) are compared with.
    package var secondsSince1970: @Sendable () -> UInt64 = { UInt64(max(time(nil), 0)) }

    package init() {}
}
