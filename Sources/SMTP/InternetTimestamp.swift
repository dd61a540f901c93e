/// A moment as protocols write it: `2027-05-01T08:30:00Z`, `2027-05-01T10:30:00+02:00` (RFC 3339 §5.6).
package enum InternetTimestamp {
    /// Seconds since 1970; nil where it's no such moment. A fraction of a second is left out.
    package static func seconds(_ text: some Sequence<UInt8>) -> Int64? {
        var scanner = ByteScanner(text)
        guard let year = number(&scanner, 4), scanner.take(UInt8(ascii: "-")), let month = number(&scanner, 2),
            scanner.take(UInt8(ascii: "-")), let day = number(&scanner, 2), scanner.take(word: "T"),
            let hour = number(&scanner, 2), scanner.take(UInt8(ascii: ":")), let minute = number(&scanner, 2),
            scanner.take(UInt8(ascii: ":")), let second = number(&scanner, 2),
            (1...12).contains(month), (1...days(month, year)).contains(day), hour < 24, minute < 60, second <= 60
        else { return nil }
        if scanner.take(.dot) {
            guard !scanner.take(while: \.isDigit).isEmpty else { return nil }
        }
        guard let offset = offset(&scanner), scanner.isAtEnd else { return nil }
        return daysSince1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
    }

    /// The moment in UTC.
    package static func text(_ seconds: Int64) -> String {
        var day = seconds / 86400
        var rest = seconds % 86400
        if rest < 0 {
            day -= 1
            rest += 86400
        }
        // Days from 0000-03-01, in eras of 400 years (the civil calendar, proleptic).
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let date = "\(padded(year, 4))-\(padded(month, 2))-\(padded(dayOfYear - (153 * shiftedMonth + 2) / 5 + 1, 2))"
        return "\(date)T\(padded(rest / 3600, 2)):\(padded(rest / 60 % 60, 2)):\(padded(rest % 60, 2))Z"
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    private static func number(_ scanner: inout ByteScanner, _ digits: Int) -> Int64? {
        var number: Int64 = 0
        for _ in 0..<digits {
            guard let digit = scanner.next(), digit.isDigit else { return nil }
            number = number * 10 + Int64(digit - 0x30)
        }
        return number
    }

    /// Seconds east of UTC.
    private static func offset(_ scanner: inout ByteScanner) -> Int64? {
        if scanner.take(word: "Z") { return 0 }
        let isWest = scanner.take(UInt8(ascii: "-"))
        guard isWest || scanner.take(UInt8(ascii: "+")), let hours = number(&scanner, 2),
            scanner.take(UInt8(ascii: ":")), let minutes = number(&scanner, 2), hours < 24, minutes < 60
        else { return nil }
        let seconds = hours * 3600 + minutes * 60
        return isWest ? -seconds : seconds
    }

    private static func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    private static func days(_ month: Int64, _ year: Int64) -> Int64 {
        switch month {
        case 2: isLeap(year) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
