import MIME

/// A moment as protocols write it: `2027-05-01T08:30:00Z`, `2027-05-01T10:30:00+02:00` (RFC 3339 §5.6).
package enum InternetTimestamp {
    /// Seconds since 1970; nil where it's no such moment. A fraction of a second is left out.
    package static func seconds(_ text: some Sequence<UInt8>) -> Int64? {
        var scanner = ByteScanner(text)
        guard let year = number(&scanner, 4), scanner.take(UInt8(ascii: "-")), let month = number(&scanner, 2),
            scanner.take(UInt8(ascii: "-")), let day = number(&scanner, 2), scanner.take(word: "T"),
            let hour = number(&scanner, 2), scanner.take(UInt8(ascii: ":")), let minute = number(&scanner, 2),
            scanner.take(UInt8(ascii: ":")), let second = number(&scanner, 2)
        else { return nil }
        if scanner.take(.dot) {
            guard !scanner.take(while: \.isDigit).isEmpty else { return nil }
        }
        guard let offset = offset(&scanner), scanner.isAtEnd else { return nil }
        return DateTime(
            year: year,
            month: month,
            day: day,
            hour: hour,
            minute: minute,
            second: second,
            offset: offset
        ).map { Int64($0.secondsSince1970) }
    }

    /// The moment in UTC.
    package static func text(_ seconds: Int64) -> String {
        let moment = DateTime(secondsSince1970: Int(seconds))
        let date = "\(padded(moment.year, 4))-\(padded(moment.month, 2))-\(padded(moment.day, 2))"
        return "\(date)T\(padded(moment.hour, 2)):\(padded(moment.minute, 2)):\(padded(moment.second, 2))Z"
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    private static func number(_ scanner: inout ByteScanner, _ digits: Int) -> Int? {
        var number = 0
        for _ in 0..<digits {
            guard let digit = scanner.next(), digit.isDigit else { return nil }
            number = number * 10 + Int(digit - 0x30)
        }
        return number
    }

    /// Minutes east of UTC.
    private static func offset(_ scanner: inout ByteScanner) -> Int? {
        if scanner.take(word: "Z") { return 0 }
        let isWest = scanner.take(UInt8(ascii: "-"))
        guard isWest || scanner.take(UInt8(ascii: "+")), let hours = number(&scanner, 2),
            scanner.take(UInt8(ascii: ":")), let minutes = number(&scanner, 2), hours < 24, minutes < 60
        else { return nil }
        return (isWest ? -1 : 1) * (hours * 60 + minutes)
    }
}
