extension ResourceRecord {
    /// The data in presentation form; types without one are written as RFC 3597 §5 says: `\# 3 010203`.
    package var presentationData: String {
        guard RecordField.fields(of: type) != nil else {
            let digits = data.isEmpty ? "" : " " + Self.text(RadixCoding.hexadecimal.encode(data))
            return "\\# \(data.count)\(digits)"
        }
        var parts: [String] = []
        forEachField { field, octets in parts.append(Self.print(field, octets)) }
        return parts.filter { !$0.isEmpty }.joined(separator: " ")
    }

    private static func print(_ field: RecordField, _ octets: ArraySlice<UInt8>) -> String {
        switch field {
        case .integer8, .integer16, .integer32, .period: String(number(octets))
        case .address4, .address6: AddressText.print(octets)
        case .compressibleName, .name: DomainName(checked: Array(octets)).description
        case .text: quoted(octets.dropFirst())
        case .texts: strings(octets).map(quoted).joined(separator: " ")
        case .tag: text(octets.dropFirst())
        case .longText: quoted(octets)
        case .hexadecimal: text(RadixCoding.hexadecimal.encode(octets))
        case .base64: text(RadixCoding.base64.encode(octets))
        case .salt: octets.count > 1 ? text(RadixCoding.hexadecimal.encode(octets.dropFirst())) : "-"
        case .hash: text(RadixCoding.base32hex.encode(octets.dropFirst()))
        case .type: RecordType(rawValue: UInt16(truncatingIfNeeded: number(octets))).description
        case .typeBitmap: TypeBitmap.types(octets).map(\.description).joined(separator: " ")
        case .time: Moment.print(number(octets))
        }
    }

    private static func number(_ octets: ArraySlice<UInt8>) -> UInt32 {
        octets.reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func text(_ octets: some Collection<UInt8>) -> String { String(decoding: octets, as: UTF8.self) }

    private static func strings(_ octets: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        var strings: [ArraySlice<UInt8>] = []
        var rest = octets
        while let length = rest.first {
            strings.append(rest.dropFirst().prefix(Int(length)))
            rest = rest.dropFirst(1 + Int(length))
        }
        return strings
    }

    private static func quoted(_ octets: ArraySlice<UInt8>) -> String {
        var result: [UInt8] = [0x22]
        for octet in octets {
            switch octet {
            case 0x22, 0x5C:
                result.append(0x5C)
                result.append(octet)
            case 0x20...0x7E: result.append(octet)
            default: appendDecimalEscape(octet, to: &result)
            }
        }
        result.append(0x22)
        return text(result)
    }
}

extension ResourceRecord: CustomStringConvertible {
    /// The record as a line of a master file, without its end.
    package var description: String { "\(name)\t\(timeToLive)\t\(`class`)\t\(type)\t\(presentationData)" }
}
