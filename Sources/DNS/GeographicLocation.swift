/// Where something is on the earth: the data of LOC records as text (RFC 1876).
enum GeographicLocation {
    /// How many octets a location has, version 0 being the only one there is.
    private static let count = 16
    /// What stands for the equator and for Greenwich. Thousandths of a second of arc.
    private static let origin = 1 << 31
    private static let degree = 3_600_000
    /// What stands for the altitude 0. Centimetres.
    private static let seaLevel = 10_000_000

    // MARK: Text to octets

    /// The octets of a location such as `42 21 54 N 71 06 18 W -24m 30m`.
    ///
    /// - Throws: what is wrong, for people.
    static func parse(_ tokens: ArraySlice<MasterFileToken>) throws(RecordTextError) -> [UInt8] {
        var tokens = tokens
        let latitude = try angle(&tokens, "N", "S", most: 90)
        let longitude = try angle(&tokens, "E", "W", most: 180)
        guard let altitude = tokens.popFirst().flatMap({ length($0.octets) }),
            let height = UInt32(exactly: altitude + seaLevel)
        else { throw RecordTextError("no altitude between -100000m and 42849672.95m") }
        // A metre across, known to within 10 km along the ground and 10 m upwards, unless it's said.
        var sizes: [UInt8] = [0x12, 0x16, 0x13]
        for index in sizes.indices {
            guard let token = tokens.popFirst() else { break }
            guard let size = length(token.octets).flatMap(packed) else {
                throw RecordTextError("no size between 0m and 90000000m")
            }
            sizes[index] = size
        }
        guard tokens.isEmpty else { throw RecordTextError("too much data for type LOC") }
        return [latitude, longitude, height].reduce(into: [0] + sizes) { $0.append(integer: $1) }
    }

    /// Degrees, perhaps minutes and seconds, and one of two directions, the first counting upwards.
    private static func angle(
        _ tokens: inout ArraySlice<MasterFileToken>,
        _ upwards: String,
        _ downwards: String,
        most: Int
    ) throws(RecordTextError) -> UInt32 {
        var total = 0
        // Degrees come first, then minutes, then seconds with three places. Units are thousandths of seconds.
        var parts = [
            (limit: most + 1, unit: degree, places: 0), (limit: 60, unit: 60_000, places: 0),
            (limit: 60_000, unit: 1, places: 3),
        ][...]
        while let token = tokens.popFirst() {
            let word = String(decoding: token.octets, as: UTF8.self).uppercased()
            if word == upwards || word == downwards, parts.count < 3 {
                guard total <= most * degree else { break }
                return UInt32(origin + (word == upwards ? total : -total))
            }
            guard let part = parts.popFirst(), let number = fixed(token.octets[...], places: part.places),
                (0..<part.limit).contains(number)
            else { break }
            total += number * part.unit
        }
        throw RecordTextError("no angle up to \(most) degrees \(upwards) or \(downwards)")
    }

    /// A length in centimetres from metres with or without `m` behind.
    private static func length(_ text: [UInt8]) -> Int? {
        let digits = text.last.map(asciiLowercased) == 0x6D ? text.dropLast() : text[...]
        return fixed(digits, places: 2)
    }

    /// A decimal number with at most `places` places, in units of the last one.
    private static func fixed(_ text: ArraySlice<UInt8>, places: Int) -> Int? {
        let isNegative = text.first == 0x2D
        let parts = text.dropFirst(isNegative ? 1 : 0).split(separator: 0x2E, omittingEmptySubsequences: false)
        guard let whole = parts.first, parts.count <= 2, var value = decimal(whole).map({ Int($0) }) else { return nil }
        let fraction = parts.count == 2 ? parts[1] : []
        guard fraction.count <= places, fraction.allSatisfy(isDigit), parts.count == 1 || places > 0 else { return nil }
        for digit in fraction { value = value * 10 + Int(digit) - 0x30 }
        for _ in fraction.count..<places { value *= 10 }
        return isNegative ? -value : value
    }

    /// Centimetres as a digit and a power of ten, what is below it lost (RFC 1876 §2).
    private static func packed(_ length: Int) -> UInt8? {
        guard (0...9_000_000_000).contains(length) else { return nil }
        var mantissa = length
        var exponent = 0
        while mantissa > 9 {
            mantissa /= 10
            exponent += 1
        }
        return UInt8(mantissa << 4 | exponent)
    }

    // MARK: Octets to text

    /// The text of a location; nil for what isn't one, or has another version.
    static func print(_ octets: ArraySlice<UInt8>) -> String? {
        let octets = Array(octets)
        guard octets.count == count, octets[0] == 0 else { return nil }
        let number: (Int) -> Int = { start in octets[start..<(start + 4)].reduce(0) { $0 << 8 | Int($1) } }
        let sizes = octets[1...3].compactMap(unpacked)
        guard sizes.count == 3, let latitude = angle(number(4) - origin, "N", "S", most: 90),
            let longitude = angle(number(8) - origin, "E", "W", most: 180)
        else { return nil }
        let altitude = number(12) - seaLevel
        let height = (altitude < 0 ? "-" : "") + "\(abs(altitude) / 100).\(padded(abs(altitude) % 100, 2))m"
        return ([latitude, longitude, height] + sizes).joined(separator: " ")
    }

    private static func angle(_ value: Int, _ upwards: String, _ downwards: String, most: Int) -> String? {
        let total = abs(value)
        guard total <= most * degree else { return nil }
        let seconds = "\(total / 1000 % 60).\(padded(total % 1000, 3))"
        return "\(total / degree) \(total / 60_000 % 60) \(seconds) \(value < 0 ? downwards : upwards)"
    }

    private static func unpacked(_ octet: UInt8) -> String? {
        guard octet >> 4 <= 9, octet & 15 <= 9 else { return nil }
        var centimetres = Int(octet >> 4)
        for _ in 0..<(octet & 15) { centimetres *= 10 }
        let fraction = centimetres % 100 == 0 ? "" : ".\(padded(centimetres % 100, 2))"
        return "\(centimetres / 100)\(fraction)m"
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
