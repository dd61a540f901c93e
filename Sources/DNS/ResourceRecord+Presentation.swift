import Encodings

extension ResourceRecord {
    /// The data in presentation form; types without one, and data that no text of its type stands for, are written as
    /// RFC 3597 §5 says: `\# 3 010203`.
    package var presentationData: String {
        guard RecordField.fields(of: type) != nil else { return genericData }
        var parts: [String?] = []
        forEachField { field, octets in parts.append(Self.print(field, octets)) }
        guard !parts.contains(nil) else { return genericData }
        return parts.compactMap(\.self).filter { !$0.isEmpty }.joined(separator: " ")
    }

    private var genericData: String {
        let digits = data.isEmpty ? "" : " " + Self.text(RadixCoding.hexadecimal.encode(data))
        return "\\# \(data.count)\(digits)"
    }

    private static func print(_ field: RecordField, _ octets: ArraySlice<UInt8>) -> String? {
        switch field {
        case .integer8, .integer16, .integer32, .period: String(number(octets))
        case .address4, .address6: AddressText.print(octets)
        case .compressibleName, .name: DomainName(checked: Array(octets)).description
        case .text: CharacterString.quoted(octets.dropFirst())
        case .texts: strings(octets).map { CharacterString.quoted($0) }.joined(separator: " ")
        case .tag: RecordField.isTag(octets.dropFirst()) ? text(octets.dropFirst()) : nil
        case .longText: CharacterString.quoted(octets)
        case .hexadecimal: text(RadixCoding.hexadecimal.encode(octets))
        case .base64: text(Base64.encode(octets))
        case .salt: octets.count > 1 ? text(RadixCoding.hexadecimal.encode(octets.dropFirst())) : "-"
        case .hash: text(RadixCoding.base32hex.encode(octets.dropFirst()))
        case .type: RecordType(rawValue: UInt16(truncatingIfNeeded: number(octets))).description
        case .typeBitmap: TypeBitmap.types(octets).map(\.description).joined(separator: " ")
        case .time: Moment.print(number(octets))
        case .location: GeographicLocation.print(octets)
        case .serviceParameters: ServiceParameters.print(octets)
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
}

extension ResourceRecord: CustomStringConvertible {
    /// The record as a line of a master file, without its end.
    package var description: String { "\(name)\t\(timeToLive)\t\(`class`)\t\(type)\t\(presentationData)" }
}
