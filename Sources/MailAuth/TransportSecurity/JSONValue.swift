/// Why a document is not JSON that is taken here.
package enum JSONError: Error, Sendable, Equatable {
    /// Not JSON (RFC 8259), with the octet where that shows.
    case malformed(Int)
    /// Deeper or more than is taken.
    case tooLarge
}

/// A JSON value (RFC 8259). Numbers keep their text.
enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([Member])

    /// A name and its value.
    struct Member: Sendable, Hashable {
        var name: String
        var value: JSONValue
    }

    /// The value of that name; the first of several.
    subscript(name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    var text: String? {
        if case .string(let text) = self { text } else { nil }
    }

    /// A whole number that isn't negative; some writers put it in quotes.
    var count: Int? {
        switch self {
        case .number(let text), .string(let text): text.utf8.count <= 15 ? UInt(text).map { Int($0) } : nil
        default: nil
        }
    }

    /// The elements; none for anything but an array.
    var elements: [JSONValue] {
        if case .array(let elements) = self { elements } else { [] }
    }

    /// The value as a document without spaces. Everything beyond printable ASCII is written as it is, in UTF-8.
    func written() -> [UInt8] {
        var octets: [UInt8] = []
        write(to: &octets)
        return octets
    }

    private func write(to octets: inout [UInt8]) {
        switch self {
        case .null: octets += Array("null".utf8)
        case .bool(let value): octets += Array((value ? "true" : "false").utf8)
        case .number(let text): octets += Array(text.utf8)
        case .string(let text): Self.write(text, to: &octets)
        case .array(let elements):
            octets.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { octets.append(UInt8(ascii: ",")) }
                element.write(to: &octets)
            }
            octets.append(UInt8(ascii: "]"))
        case .object(let members):
            octets.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { octets.append(UInt8(ascii: ",")) }
                Self.write(member.name, to: &octets)
                octets.append(UInt8(ascii: ":"))
                member.value.write(to: &octets)
            }
            octets.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ text: String, to octets: inout [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        octets.append(UInt8(ascii: "\""))
        for octet in text.utf8 {
            switch octet {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): octets += [UInt8(ascii: "\\"), octet]
            case 0..<0x20, 0x7F:
                octets += Array("\\u00".utf8) + [digits[Int(octet >> 4)], digits[Int(octet & 15)]]
            default: octets.append(octet)
            }
        }
        octets.append(UInt8(ascii: "\""))
    }
}
