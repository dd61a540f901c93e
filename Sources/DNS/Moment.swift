/// A signature's time as RRSIG writes it: seconds since 1970, and YYYYMMDDHHmmSS in UTC (RFC 4034 §3.2).
package enum Moment {
    /// The fourteen digits of a time in seconds since 1970.
    package static func print(_ seconds: UInt32) -> String {
        let days = Int(seconds / 86400)
        let rest = Int(seconds % 86400)
        // The civil calendar by eras of 400 years, each beginning on 1 March.
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return [(year, 4), (month, 2), (day, 2), (rest / 3600, 2), (rest / 60 % 60, 2), (rest % 60, 2)]
            .map { padded($0.0, $0.1) }.joined()
    }

    /// The seconds; nil for a text that is neither fourteen digits of a date up to 2106 nor a number.
    package static func parse(_ text: some Collection<UInt8>) -> UInt32? {
        guard text.count == 14 else { return decimal(text) }
        let digits = Array(text)
        guard digits.allSatisfy(isDigit) else { return nil }
        let number: (Range<Int>) -> Int = { range in digits[range].reduce(0) { $0 * 10 + Int($1) - 0x30 } }
        let (year, month, day) = (number(0..<4), number(4..<6), number(6..<8))
        let (hour, minute, second) = (number(8..<10), number(10..<12), number(12..<14))
        guard year >= 1970, (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 60
        else { return nil }
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = shiftedYear / 400
        let yearOfEra = shiftedYear % 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * 146_097 + dayOfEra - 719_468
        return UInt32(exactly: days * 86400 + hour * 3600 + minute * 60 + second)
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}

/// A period of time as master files write it: seconds, or numbers with the units s m h d w (`1h30m`).
package enum Period {
    /// The seconds; nil for anything else, or more than 2^31-1 of them.
    package static func parse(_ text: some Collection<UInt8>) -> UInt32? {
        var total: UInt64 = 0
        var number: UInt64?
        for octet in text {
            if isDigit(octet) {
                let value = (number ?? 0) * 10 + UInt64(octet - 0x30)
                guard value <= 0x7FFF_FFFF else { return nil }
                number = value
                continue
            }
            guard let value = number, let unit = seconds(of: octet) else { return nil }
            total += value * unit
            number = nil
            guard total <= 0x7FFF_FFFF else { return nil }
        }
        guard !text.isEmpty else { return nil }
        total += number ?? 0
        return total <= 0x7FFF_FFFF ? UInt32(total) : nil
    }

    private static func seconds(of unit: UInt8) -> UInt64? {
        switch asciiLowercased(unit) {
        case 0x73: 1
        case 0x6D: 60
        case 0x68: 3600
        case 0x64: 86400
        case 0x77: 604_800
        default: nil
        }
    }
}
