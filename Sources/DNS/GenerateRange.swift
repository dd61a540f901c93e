/// The numbers of a $GENERATE directive, `FROM-TO[/STEP]`, and how they get into words: `$`, or
/// `${OFFSET[,WIDTH[,BASE]]}` with the bases d, o, x and X.
struct GenerateRange {
    let numbers: StrideThrough<Int>

    /// How many records one directive may make.
    static let maximumCount = 100_000

    init?(_ text: [UInt8]) {
        let halves = text.split(separator: 0x2F, omittingEmptySubsequences: false)
        let bounds = halves[0].split(separator: 0x2D, omittingEmptySubsequences: false)
        guard halves.count <= 2, bounds.count == 2, let from = decimal(bounds[0]), let to = decimal(bounds[1]),
            let step = halves.count == 2 ? decimal(halves[1]) : 1, from <= to, to <= 0x7FFF_FFFF, step > 0,
            Int(to - from) / Int(step) < Self.maximumCount
        else { return nil }
        numbers = stride(from: Int(from), through: Int(to), by: Int(step))
    }

    /// `text` with the number in the place of each `$` that has no backslash before it; nil for a wrong modifier.
    static func substitute(_ number: Int, in text: [UInt8]) -> [UInt8]? {
        var result: [UInt8] = []
        var position = 0
        while position < text.count {
            let octet = text[position]
            position += 1
            if octet == 0x5C, position < text.count {
                if text[position] != 0x24 { result.append(octet) }
                result.append(text[position])
                position += 1
            } else if octet != 0x24 {
                result.append(octet)
            } else if position < text.count, text[position] == 0x7B {
                guard let end = text[position...].firstIndex(of: 0x7D),
                    let digits = modified(number, by: text[(position + 1)..<end])
                else { return nil }
                result += digits
                position = end + 1
            } else {
                result += String(number).utf8
            }
        }
        return result
    }

    private static func modified(_ number: Int, by modifier: ArraySlice<UInt8>) -> [UInt8]? {
        let parts = modifier.split(separator: 0x2C, omittingEmptySubsequences: false)
        guard (1...3).contains(parts.count) else { return nil }
        let isNegative = parts[0].first == 0x2D
        guard let offset = decimal(isNegative ? parts[0].dropFirst() : parts[0]), offset <= 0x7FFF_FFFF,
            let width = parts.count > 1 ? decimal(parts[1]) : 0, width <= 63
        else { return nil }
        let value = number + (isNegative ? -Int(offset) : Int(offset))
        guard value >= 0 else { return nil }
        let digits: String
        switch parts.count > 2 ? String(decoding: parts[2], as: UTF8.self) : "d" {
        case "d": digits = String(value)
        case "o": digits = String(value, radix: 8)
        case "x": digits = String(value, radix: 16)
        case "X": digits = String(value, radix: 16, uppercase: true)
        default: return nil
        }
        return [UInt8](repeating: 0x30, count: max(0, Int(width) - digits.utf8.count)) + digits.utf8
    }
}
