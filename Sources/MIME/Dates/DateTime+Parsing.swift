extension DateTime {
    /// Reads a Date field's value (RFC 5322 §3.3, with §4.3's obsolete years and zones): the weekday, seconds and zone
    /// may be missing, comments may be anywhere. The order of C's asctime, `Thu Jan 1 00:00:00 1970`, which some programs
    /// write, is read too. nil for anything else.
    package init?(field: some Collection<UInt8>) {
        var words = Self.words(field)[...]
        if let first = words.first, first.allSatisfy(ASCII.isLetter), DateTime.month(named: first) == nil {
            words.removeFirst()
        }
        if words.count >= 4, Self.month(prefix: words[words.startIndex]) != nil {
            words = Self.reordered(Array(words))[...]
        }
        guard words.count >= 4, let day = ASCII.number(words.removeFirst()),
            let month = Self.month(prefix: words.removeFirst()), let year = Self.year(words.removeFirst()),
            let time = Self.time(words.removeFirst())
        else { return nil }
        self.init(
            year: year,
            month: month,
            day: day,
            hour: time.hour,
            minute: time.minute,
            second: time.second,
            offset: words.first.map(Self.zone) ?? 0
        )
    }

    /// At most ten words, apart at blanks, commas and, within dates such as `1-Jan-2020`, hyphens; no comments.
    private static func words(_ field: some Collection<UInt8>) -> [[UInt8]] {
        var words: [[UInt8]] = []
        var word: [UInt8] = []
        var depth = 0
        func end() {
            if !word.isEmpty { words.append(word) }
            word = []
        }
        for octet in field.prefix(200) {
            switch octet {
            case UInt8(ascii: "("):
                depth += 1
                end()
            case UInt8(ascii: ")"): depth = max(0, depth - 1)
            case _ where depth > 0: continue
            case _ where octet == UInt8(ascii: ",") || ASCII.isWhitespace(octet): end()
            case UInt8(ascii: "-") where !word.isEmpty && words.count < 3: end()
            default: word.append(octet)
            }
            if words.count == 10 { break }
        }
        end()
        return words
    }

    /// Month, day, time and year, perhaps with a zone before the year, in the order of mail.
    private static func reordered(_ words: [[UInt8]]) -> [[UInt8]] {
        let hasZone = words.count > 4 && ASCII.number(words[3]) == nil
        let zone = hasZone ? [words[3]] : Array(words.dropFirst(4).prefix(1))
        return [words[1], words[0], words[hasZone ? 4 : 3], words[2]] + zone
    }

    private static func month(prefix word: [UInt8]) -> Int? {
        guard word.allSatisfy(ASCII.isLetter) else { return nil }
        return month(named: word.prefix(3))
    }

    private static func year(_ word: [UInt8]) -> Int? {
        guard let number = ASCII.number(word) else { return nil }
        switch word.count {
        case 2: return number + (number < 50 ? 2000 : 1900)
        case 3: return number + 1900
        default: return number
        }
    }

    private static func time(_ word: [UInt8]) -> (hour: Int, minute: Int, second: Int)? {
        let parts = word.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), let hour = ASCII.number(parts[0]), let minute = ASCII.number(parts[1])
        else { return nil }
        guard parts.count == 3 else { return (hour, minute, 0) }
        guard let second = ASCII.number(parts[2]) else { return nil }
        return (hour, minute, second)
    }

    /// Minutes east of UTC; unknown names count as UTC (RFC 5322 §4.3).
    private static func zone(_ word: [UInt8]) -> Int {
        if let sign = word.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"), word.count == 5,
            let hours = ASCII.number(word[1..<3]), let minutes = ASCII.number(word[3..<5]), hours < 24, minutes < 60
        {
            return (hours * 60 + minutes) * (sign == UInt8(ascii: "-") ? -1 : 1)
        }
        let names: [(StaticString, Int)] = [
            ("EDT", -4), ("EST", -5), ("CDT", -5), ("CST", -6), ("MDT", -6), ("MST", -7), ("PDT", -7), ("PST", -8),
        ]
        return (names.first { ASCII.equal(word, $0.0) }?.1 ?? 0) * 60
    }
}
