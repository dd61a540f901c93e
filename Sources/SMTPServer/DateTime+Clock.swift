import CLinux
import MIME

#if canImport(Glibc)
import Glibc
#endif

extension DateTime {
    /// This moment in local time. The time zone must have been read while files could be opened (`loadTimeZone`).
    static func now() -> DateTime {
        let seconds = time(nil)
        return DateTime(secondsSince1970: seconds, offset: CLinux_utc_offset(Int64(seconds)) / 60)
    }

    /// This moment. Seconds since 1970.
    static func secondsNow() -> Int64 { Int64(time(nil)) }

    /// Reads the system's time zone, which is kept for the life of the process.
    static func loadTimeZone() {
        _ = CLinux_utc_offset(Int64(time(nil)))
    }
}
