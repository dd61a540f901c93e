import CLinux
import MIME
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

extension MailDate {
    /// This moment in local time. The time zone must have been read while files could be opened (`loadTimeZone`).
    static func now() -> MailDate {
        let seconds = Int64(time(nil))
        return MailDate(seconds: seconds, offset: Int64(CLinux_utc_offset(seconds)))
    }

    /// Reads the system's time zone, which is kept for the life of the process.
    static func loadTimeZone() {
        _ = CLinux_utc_offset(Int64(time(nil)))
    }

    /// Appends the date as mail writes it.
    func write(to buffer: inout ByteBuffer) { buffer.writeString(description) }
}
