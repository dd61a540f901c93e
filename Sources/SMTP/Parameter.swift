/// `esmtp-param = esmtp-keyword ["=" esmtp-value]` (RFC 5321 §4.1.2).
enum Parameter {
    private static let maximumName = 32

    /// The next parameter, its name in capitals; nil at the end of the line.
    static func next(
        _ scanner: inout ByteScanner
    ) throws(EnvelopeError) -> (name: String, value: ArraySlice<UInt8>?)? {
        if scanner.isAtEnd { return nil }
        guard scanner.take(.space) else { throw .malformedAddress }
        scanner.skipSpaces()
        if scanner.isAtEnd { return nil }
        let keyword = scanner.take { $0.isLetterOrDigit || $0 == UInt8(ascii: "-") }
        let name = String(decoding: keyword.prefix(maximumName).map(\.asciiUppercased), as: UTF8.self)
        guard (1...maximumName).contains(keyword.count) else { throw .malformedParameter(name) }
        var value: ArraySlice<UInt8>?
        if scanner.take(UInt8(ascii: "=")) {
            value = scanner.take { ($0.isPrintable && $0 != .space) || $0 > 0x7F }
        }
        guard scanner.isAtEnd || scanner.peek == .space else { throw .malformedParameter(name) }
        return (name, value)
    }

    static func number(_ value: ArraySlice<UInt8>?) -> Int? {
        guard let value, (1...20).contains(value.count), value.allSatisfy(\.isDigit) else { return nil }
        return Int(String(decoding: value, as: UTF8.self)) ?? .max
    }

    static func keyword(_ value: ArraySlice<UInt8>?) -> String? {
        guard let value, (1...64).contains(value.count) else { return nil }
        return String(decoding: value.map(\.asciiUppercased), as: UTF8.self)
    }

    /// Decoded text without control characters, of at most `maximum` octets as written.
    static func xtext(_ value: ArraySlice<UInt8>?, maximum: Int) -> String? {
        guard let value, (1...maximum).contains(value.count), let octets = XText.decode(value) else { return nil }
        guard octets.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return nil }
        return String(validating: octets, as: UTF8.self)
    }
}

/// The parameters that a command has named already; a second one of a name is an error.
struct ParameterNames {
    private var names: [String] = []

    mutating func insert(_ name: String) throws(EnvelopeError) {
        guard !names.contains(name) else { throw .malformedParameter(name) }
        names.append(name)
    }
}
