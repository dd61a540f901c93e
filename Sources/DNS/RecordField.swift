/// The kinds of field that record data is made of. A type's list of fields is all that the codec, the master file parser
/// and the presentation form need to know of it.
enum RecordField: Sendable {
    case integer8, integer16, integer32
    /// Seconds; units may be written (RFC 2308 §4 calls for TTLs in SOA).
    case period
    case address4, address6
    /// A name that senders may compress (the types of RFC 1035, RFC 3597 §4).
    case compressibleName
    /// A name that senders never compress, and that is decompressed all the same when it comes so.
    case name
    /// One character-string (RFC 1035 §3.3).
    case text
    /// One or more character-strings up to the end.
    case texts
    /// A character-string of letters and digits that is written without quotes (CAA's tag, RFC 8659 §4.1).
    case tag
    /// Text up to the end without a length (CAA's value, URI's target).
    case longText
    /// Octets up to the end.
    case hexadecimal, base64
    /// Octets behind a length: hexadecimal or `-` (NSEC3's salt), base32hex (NSEC3's next hash).
    case salt, hash
    /// A type by its mnemonic (RRSIG).
    case type
    /// The types that exist at a name (RFC 4034 §4.1.2).
    case typeBitmap
    /// A moment as YYYYMMDDHHmmSS (RFC 4034 §3.2).
    case time
    /// Where something is on the earth (RFC 1876 §2); octets of other versions pass.
    case location
    /// Keys with values (RFC 9460 §2.2); what is malformed there passes, for only clients need it.
    case serviceParameters

    /// The fields of a type; nil for a type that is opaque (RFC 3597).
    static func fields(of type: RecordType) -> [RecordField]? { table[type.rawValue] }

    private static let digest: [RecordField] = [.integer16, .integer8, .integer8, .hexadecimal]
    private static let certificate: [RecordField] = [.integer8, .integer8, .integer8, .hexadecimal]
    private static let key: [RecordField] = [.integer16, .integer8, .integer8, .base64]
    private static let service: [RecordField] = [.integer16, .name, .serviceParameters]
    private static let preferred: [RecordField] = [.integer16, .name]

    private static let table: [UInt16: [RecordField]] = [
        1: [.address4],
        2: [.compressibleName],
        3: [.compressibleName],
        4: [.compressibleName],
        5: [.compressibleName],
        6: [.compressibleName, .compressibleName, .integer32, .period, .period, .period, .period],
        7: [.compressibleName],
        8: [.compressibleName],
        9: [.compressibleName],
        12: [.compressibleName],
        13: [.text, .text],
        14: [.compressibleName, .compressibleName],
        15: [.integer16, .compressibleName],
        16: [.texts],
        17: [.name, .name],
        18: preferred,
        21: preferred,
        26: [.integer16, .name, .name],
        28: [.address6],
        29: [.location],
        33: [.integer16, .integer16, .integer16, .name],
        35: [.integer16, .integer16, .text, .text, .text, .name],
        36: preferred,
        37: [.integer16, .integer16, .integer8, .base64],
        39: [.name],
        43: digest,
        44: [.integer8, .integer8, .hexadecimal],
        46: [.type, .integer8, .integer8, .integer32, .time, .time, .integer16, .name, .base64],
        47: [.name, .typeBitmap],
        48: key,
        49: [.base64],
        50: [.integer8, .integer8, .integer16, .salt, .hash, .typeBitmap],
        51: [.integer8, .integer8, .integer16, .salt],
        52: certificate,
        53: certificate,
        59: digest,
        60: key,
        61: [.base64],
        62: [.integer32, .integer16, .typeBitmap],
        63: [.integer32, .integer8, .integer8, .hexadecimal],
        64: service,
        65: service,
        99: [.texts],
        256: [.integer16, .integer16, .longText],
        257: [.integer8, .tag, .longText],
    ]

    var isName: Bool {
        switch self {
        case .compressibleName, .name: true
        default: false
        }
    }

    /// How many octets a field that is no name takes at `position`; nil when it doesn't fit before `end`.
    func length(in octets: [UInt8], at position: Int, end: Int) -> Int? {
        let left = end - position
        let length: Int
        switch self {
        case .integer8: length = 1
        case .integer16, .type: length = 2
        case .integer32, .period, .time, .address4: length = 4
        case .address6: length = 16
        case .text, .tag, .salt, .hash:
            guard left > 0 else { return nil }
            length = 1 + Int(octets[position])
        case .texts:
            guard left > 0, Self.areTexts(octets[position..<end]) else { return nil }
            length = left
        case .typeBitmap:
            guard Self.isTypeBitmap(octets[position..<end]) else { return nil }
            length = left
        case .longText, .hexadecimal, .base64, .location, .serviceParameters: length = left
        case .compressibleName, .name: return nil
        }
        return length <= left ? length : nil
    }

    /// Whether a tag can be written: letters and digits (RFC 8659 §4.1).
    static func isTag(_ octets: some Collection<UInt8>) -> Bool {
        !octets.isEmpty && octets.allSatisfy { isDigit($0) || asciiLowercased($0) &- 0x61 < 26 }
    }

    private static func areTexts(_ octets: ArraySlice<UInt8>) -> Bool {
        var position = octets.startIndex
        while position < octets.endIndex { position += 1 + Int(octets[position]) }
        return position == octets.endIndex
    }

    private static func isTypeBitmap(_ octets: ArraySlice<UInt8>) -> Bool {
        var position = octets.startIndex
        var previous = -1
        while position < octets.endIndex {
            guard octets.endIndex - position >= 3 else { return false }
            let window = Int(octets[position])
            let length = Int(octets[position + 1])
            guard window > previous, (1...32).contains(length) else { return false }
            previous = window
            position += 2 + length
        }
        return position == octets.endIndex
    }
}
