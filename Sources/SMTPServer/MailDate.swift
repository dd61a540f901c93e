import CLinux
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// A moment as mail writes it (RFC 5322 §3.3), with the local offset and without any locale.
struct MailDate {
    private static let weekdays: [StaticString] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months: [StaticString] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private let seconds: Int
    private let offset: Int

    /// - Parameters:
    ///   - seconds: since 1970, at least 0.
    ///   - offset: of local time, in seconds east of UTC.
    init(seconds: Int, offset: Int) {
        self.seconds = max(0, seconds)
        self.offset = offset
    }

    /// This moment. The time zone must have been read while files could be opened (`loadTimeZone`).
    static func now() -> MailDate {
        let seconds = time(nil)
        return MailDate(seconds: seconds, offset: CLinux_utc_offset(Int64(seconds)))
    }

    /// Reads the system's time zone, which is kept for the life of the process.
    static func loadTimeZone() {
        _ = CLinux_utc_offset(Int64(time(nil)))
    }

    /// Appends `Mon, 23 Nov 2026 15:40:35 +0000`.
    func write(to buffer: inout ByteBuffer) {
        let local = max(0, seconds + offset)
        let days = local / 86400
        let (year, month, day) = Self.civil(days)
        buffer.writeStaticString(Self.weekdays[days % 7])
        buffer.writeStaticString(", ")
        if day < 10 { buffer.writeInteger(UInt8(0x30 + day)) } else { Self.write(day, to: &buffer) }
        buffer.writeInteger(UInt8(ascii: " "))
        buffer.writeStaticString(Self.months[month - 1])
        buffer.writeInteger(UInt8(ascii: " "))
        buffer.writeString(String(year))
        buffer.writeInteger(UInt8(ascii: " "))
        Self.write(local % 86400 / 3600, to: &buffer)
        buffer.writeInteger(UInt8(ascii: ":"))
        Self.write(local % 3600 / 60, to: &buffer)
        buffer.writeInteger(UInt8(ascii: ":"))
        Self.write(local % 60, to: &buffer)
        buffer.writeStaticString(offset < 0 ? " -" : " +")
        Self.write(abs(offset) / 3600, to: &buffer)
        Self.write(abs(offset) % 3600 / 60, to: &buffer)
    }

    private static func write(_ number: Int, to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt8(0x30 + number / 10 % 10))
        buffer.writeInteger(UInt8(0x30 + number % 10))
    }

    /// The Gregorian date so many days after 1970-01-01: years are counted from March, in eras of 400 years.
    private static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (era * 400 + yearOfEra + (month <= 2 ? 1 : 0), month, day)
    }
}
