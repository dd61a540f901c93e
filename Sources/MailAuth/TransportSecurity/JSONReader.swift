/// Reads a JSON document (RFC 8259) of limited depth and number of values.
struct JSONReader {
    static let maximumDepth = 24
    static let maximumValues = 500_000

    private let octets: [UInt8]
    private var position = 0
    private var values = 0

    private init(_ octets: [UInt8]) { self.octets = octets }

    /// The document's value.
    static func read(_ octets: [UInt8]) throws(JSONError) -> JSONValue {
        var reader = JSONReader(octets)
        if octets.starts(with: [0xEF, 0xBB, 0xBF]) { reader.position = 3 }
        let value = try reader.value(depth: 0)
        reader.skipBlanks()
        guard reader.position == octets.count else { throw .malformed(reader.position) }
        return value
    }

    private var next: UInt8? { position < octets.count ? octets[position] : nil }

    private mutating func skipBlanks() {
        while let octet = next, octet == 0x20 || octet == 0x0A || octet == 0x0D || octet == 0x09 { position += 1 }
    }

    private mutating func take(_ octet: UInt8) -> Bool {
        skipBlanks()
        guard next == octet else { return false }
        position += 1
        return true
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
        guard depth < Self.maximumDepth, values < Self.maximumValues else { throw .tooLarge }
        values += 1
        skipBlanks()
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func word(_ text: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        let text = text.withUTF8Buffer { Array($0) }
        guard octets[position...].starts(with: text) else { throw .malformed(position) }
        position += text.count
        return value
    }

    private mutating func object(depth: Int) throws(JSONError) -> JSONValue {
        position += 1
        var members: [JSONValue.Member] = []
        if take(UInt8(ascii: "}")) { return .object(members) }
        repeat {
            skipBlanks()
            guard next == UInt8(ascii: "\"") else { throw .malformed(position) }
            let name = try string()
            guard take(UInt8(ascii: ":")) else { throw .malformed(position) }
            members.append(.init(name: name, value: try value(depth: depth + 1)))
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")) else { throw .malformed(position) }
        return .object(members)
    }

    private mutating func array(depth: Int) throws(JSONError) -> JSONValue {
        position += 1
        var elements: [JSONValue] = []
        if take(UInt8(ascii: "]")) { return .array(elements) }
        repeat { elements.append(try value(depth: depth + 1)) } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "]")) else { throw .malformed(position) }
        return .array(elements)
    }

    /// RFC 8259 §6.
    private mutating func number() throws(JSONError) -> JSONValue {
        let start = position
        if next == UInt8(ascii: "-") { position += 1 }
        let leading = next
        let whole = digits()
        guard whole > 0, leading != 0x30 || whole == 1 else { throw .malformed(start) }
        if next == UInt8(ascii: ".") {
            position += 1
            guard digits() > 0 else { throw .malformed(position) }
        }
        if let octet = next, octet | 0x20 == UInt8(ascii: "e") {
            position += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
            guard digits() > 0 else { throw .malformed(position) }
        }
        return .number(String(decoding: octets[start..<position], as: UTF8.self))
    }

    private mutating func digits() -> Int {
        let start = position
        while let octet = next, octet &- 0x30 < 10 { position += 1 }
        return position - start
    }

    /// RFC 8259 §7. Octets that aren't UTF-8, and halves of surrogate pairs, become U+FFFD.
    private mutating func string() throws(JSONError) -> String {
        position += 1
        var text: [UInt8] = []
        while let octet = next {
            position += 1
            switch octet {
            case UInt8(ascii: "\""): return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): try escape(&text)
            case 0..<0x20: throw .malformed(position - 1)
            default: text.append(octet)
            }
        }
        throw .malformed(position)
    }

    private mutating func escape(_ text: inout [UInt8]) throws(JSONError) {
        guard let octet = next else { throw .malformed(position) }
        position += 1
        switch octet {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(octet)
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "u"):
            var unit = try codeUnit()
            if unit & 0xFC00 == 0xD800, octets[position...].starts(with: [0x5C, 0x75]) {
                let before = position
                position += 2
                let low = try codeUnit()
                if low & 0xFC00 == 0xDC00 {
                    unit = 0x10000 + (unit & 0x3FF) << 10 + low & 0x3FF
                } else {
                    position = before
                }
            }
            text += Array(String(Character(Unicode.Scalar(unit) ?? "\u{FFFD}")).utf8)
        default: throw .malformed(position - 1)
        }
    }

    private mutating func codeUnit() throws(JSONError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let octet = next, let digit = Character(Unicode.Scalar(octet)).hexDigitValue else {
                throw .malformed(position)
            }
            unit = unit << 4 | UInt32(digit)
            position += 1
        }
        return unit
    }
}
