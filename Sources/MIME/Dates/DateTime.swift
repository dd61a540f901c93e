/// A moment on the calendar with its offset from UTC, as mail writes it; the proleptic Gregorian calendar.
package struct DateTime: Sendable, Equatable, CustomStringConvertible {
    package var year: Int
    /// 1 to 12.
    package var month: Int
    package var day: Int
    package var hour: Int
    package var minute: Int
    /// 60 in a leap second.
    package var second: Int
    /// Minutes east of UTC.
    package var offset: Int

    private static let months: [StaticString] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
    private static let weekdays: [StaticString] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]

    /// nil where a part is out of its range: years 1 to 9999, offsets of less than a day.
    package init?(
        year: Int,
        month: Int,
        day: Int,
        hour: Int = 0,
        minute: Int = 0,
        second: Int = 0,
        offset: Int = 0
    ) {
        guard (1...9999).contains(year), (1...12).contains(month), (0...23).contains(hour),
            (0...59).contains(minute), (0...60).contains(second), (-1439...1439).contains(offset),
            day >= 1, day <= Self.length(ofMonth: month, year: year)
        else { return nil }
        self.year = year
        self.month = month
        self.day = day
        self.hour = hour
        self.minute = minute
        self.second = second
        self.offset = offset
    }

    /// - Parameters:
    ///   - seconds: since 1970; what lies outside the years 1 to 9999 becomes their first or last second.
    ///   - offset: minutes east of UTC.
    package init(secondsSince1970 seconds: Int, offset: Int = 0) {
        let offset = min(max(offset, -1439), 1439)
        let bounded = min(max(seconds, -62_135_510_400), 253_402_214_400)
        let local = bounded + offset * 60
        var days = local / 86400
        var rest = local % 86400
        if rest < 0 {
            rest += 86400
            days -= 1
        }
        (year, month, day) = Self.civil(days)
        hour = rest / 3600
        minute = rest % 3600 / 60
        second = rest % 60
        self.offset = offset
    }

    package var secondsSince1970: Int {
        dayNumber * 86400 + hour * 3600 + minute * 60 + second - offset * 60
    }

    /// Days from 1970-01-01 to the date as it is written, whatever the time and the offset.
    package var dayNumber: Int { Self.days(year, month, day) }

    /// A month's number by its English name; nil for anything else.
    package static func month(named name: some Collection<UInt8>) -> Int? {
        months.firstIndex { ASCII.equal(name, $0) }.map { $0 + 1 }
    }

    /// The English name of a month in three letters.
    package static func name(ofMonth month: Int) -> StaticString {
        months[min(max(month, 1), 12) - 1]
    }

    /// `Mon, 23 Nov 2026 15:40:35 +0000`.
    package var description: String {
        var octets: [UInt8] = []
        octets.reserveCapacity(31)
        write(to: &octets)
        return String(decoding: octets, as: UTF8.self)
    }

    /// Appends `Mon, 23 Nov 2026 15:40:35 +0000` (RFC 5322 §3.3).
    package func write(to octets: inout [UInt8]) {
        let weekday = ((dayNumber % 7) + 7) % 7
        octets.append(contentsOf: Self.bytes(Self.weekdays[weekday]))
        octets += [UInt8(ascii: ","), ASCII.space]
        octets += Array(String(day).utf8)
        octets.append(ASCII.space)
        octets += Self.bytes(Self.name(ofMonth: month))
        octets.append(ASCII.space)
        Self.write(year, digits: 4, to: &octets)
        octets.append(ASCII.space)
        writeTime(to: &octets)
    }

    /// Appends `15:40:35 +0000`.
    package func writeTime(to octets: inout [UInt8]) {
        Self.write(hour, digits: 2, to: &octets)
        octets.append(UInt8(ascii: ":"))
        Self.write(minute, digits: 2, to: &octets)
        octets.append(UInt8(ascii: ":"))
        Self.write(second, digits: 2, to: &octets)
        octets += [ASCII.space, UInt8(ascii: offset < 0 ? "-" : "+")]
        Self.write(abs(offset) / 60, digits: 2, to: &octets)
        Self.write(abs(offset) % 60, digits: 2, to: &octets)
    }

    /// Appends a number with leading zeros; higher digits are left out.
    package static func write(_ number: Int, digits: Int, to octets: inout [UInt8]) {
        var rest = abs(number)
        var text: [UInt8] = []
        for _ in 0..<digits {
            text.append(UInt8(0x30 + rest % 10))
            rest /= 10
        }
        octets.append(contentsOf: text.reversed())
    }

    private static func bytes(_ text: StaticString) -> [UInt8] { text.withUTF8Buffer { Array($0) } }

    private static func length(ofMonth month: Int, year: Int) -> Int {
        switch month {
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Days since 1970-01-01: years are counted from March, in eras of 400 years.
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func civil(_ days: Int) -> (Int, Int, Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }
}
