/// A moment as mail writes it (RFC 5322 §3.3), without any locale.
package struct MailDate: Sendable, CustomStringConvertible {
    private static let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    private let seconds: Int64
    private let offset: Int64

    /// A moment in some zone.
    ///
    /// - Parameters:
    ///   - seconds: since 1970, at least 0.
    ///   - offset: of local time, in seconds east of UTC.
    package init(seconds: Int64, offset: Int64 = 0) {
        self.seconds = min(max(0, seconds), 1 << 40)
        self.offset = min(max(-86_399, offset), 86_399)
    }

    /// `Mon, 23 Nov 2026 15:40:35 +0000`.
    package var description: String {
        let local = max(0, seconds + offset)
        let days = local / 86_400
        let (year, month, day) = Self.civil(days)
        let clock = [local % 86_400 / 3600, local % 3600 / 60, local % 60].map(Self.twoDigits).joined(separator: ":")
        let zone = Self.twoDigits(abs(offset) / 3600) + Self.twoDigits(abs(offset) % 3600 / 60)
        let date = "\(day) \(Self.months[Int(month - 1) % 12]) \(year)"
        return "\(Self.weekdays[Int(days % 7)]), \(date) \(clock) \(offset < 0 ? "-" : "+")\(zone)"
    }

    private static func twoDigits(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }

    /// The Gregorian date so many days after 1970-01-01: years are counted from March, in eras of 400 years.
    private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (era * 400 + yearOfEra + (month <= 2 ? 1 : 0), month, day)
    }
}
