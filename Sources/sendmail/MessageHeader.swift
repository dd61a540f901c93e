/// The header of a message that a local program wrote, field by field, as it came.
struct MessageHeader {
    /// Whole fields with their folds and line ends.
    private(set) var fields: [[UInt8]] = []
    private(set) var octets = 0
    private static let maximum = 1 << 20

    /// Appends a line if it belongs to the header.
    ///
    /// - Returns: whether it does.
    /// - Throws: `Failure` with EX_DATAERR where the header is too long.
    mutating func append(_ line: LineInput.Piece) throws -> Bool {
        let continues = !line.isStart || line.octets.first == 0x20 || line.octets.first == 0x09
        if continues, !fields.isEmpty {
            fields[fields.count - 1] += line.octets
        } else if line.isStart, Self.name(line.octets) != nil {
            fields.append(line.octets)
        } else {
            return false
        }
        octets += line.octets.count
        guard octets <= Self.maximum else { throw Failure(.data, "the header is too long") }
        return true
    }

    /// A field's name in lower case.
    private static func name(_ field: [UInt8]) -> String? {
        guard let colon = field.firstIndex(of: UInt8(ascii: ":")), colon > 0 else { return nil }
        let name = field[..<colon]
        guard name.allSatisfy({ (0x21...0x7e).contains($0) }) else { return nil }
        return String(decoding: name, as: UTF8.self).lowercased()
    }

    /// Whether there is UTF-8 beyond ASCII in it (RFC 6532).
    var hasUTF8: Bool {
        fields.contains { field in
            field.contains { $0 > 0x7F } && String(validating: field, as: UTF8.self) != nil
        }
    }

    func has(_ name: String) -> Bool { fields.contains { Self.name($0) == name } }

    /// The values of all fields of these names.
    func values(_ names: Set<String>) -> [[UInt8]] {
        fields.compactMap { field in
            guard let name = Self.name(field), names.contains(name) else { return nil }
            return field.firstIndex(of: UInt8(ascii: ":")).map { Array(field[($0 + 1)...]) }
        }
    }

    mutating func remove(_ names: Set<String>) {
        fields.removeAll { field in Self.name(field).map(names.contains) ?? false }
    }

    mutating func add(_ name: String, _ value: String) { fields.append(Array("\(name): \(value)\r\n".utf8)) }
}
