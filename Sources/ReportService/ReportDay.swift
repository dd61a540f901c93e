import SMTP

/// A day in UTC, which reports are about.
struct ReportDay: Hashable, Comparable {
    /// Days since 1970.
    let number: Int

    init(number: Int) { self.number = number }

    /// The day of a moment in seconds since 1970.
    init(of seconds: Int) { number = (seconds - (seconds % 86400 + 86400) % 86400) / 86400 }

    /// nil for what isn't a day's name.
    init?(named name: some StringProtocol) {
        guard name.utf8.count == 10, let seconds = InternetTimestamp.seconds("\(name)T00:00:00Z".utf8) else {
            return nil
        }
        self.init(of: Int(seconds))
    }

    /// `2026-11-30`.
    var name: String { String(InternetTimestamp.text(Int64(begin)).prefix(10)) }

    /// Seconds since 1970.
    var begin: Int { number * 86400 }
    /// Its last second, since 1970.
    var end: Int { begin + 86399 }

    static func < (one: ReportDay, other: ReportDay) -> Bool { one.number < other.number }
}
