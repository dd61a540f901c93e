/// Turns ISO-2022-JP (RFC 1468) into EUC-JP as Microsoft extends it, piece by piece: senders put into the one what only the
/// other has, such as numbers in circles and half-width katakana. What means nothing becomes 0xFF, which means nothing in
/// EUC-JP either. However the octets are cut into pieces, the result is the same.
struct ISO2022JP {
    private enum CharacterSet { case ascii, katakana, kanji, supplement }

    private var set = CharacterSet.ascii
    /// An escape sequence, or the first octet of a character, whose rest has not come.
    private var held: [UInt8] = []

    private static let escape: UInt8 = 0x1B
    private static let nothing: UInt8 = 0xFF
    private static let escapes: [(octets: [UInt8], set: CharacterSet)] = [
        ([escape, 0x28, 0x42], .ascii), ([escape, 0x28, 0x4A], .ascii), ([escape, 0x28, 0x49], .katakana),
        ([escape, 0x24, 0x40], .kanji), ([escape, 0x24, 0x42], .kanji), ([escape, 0x24, 0x28, 0x44], .supplement),
    ]

    /// Whether a sequence or a character has begun and not ended.
    var isIncomplete: Bool { !held.isEmpty }

    mutating func convert(_ octets: some Sequence<UInt8>, into result: inout [UInt8]) {
        for octet in octets { take(octet, &result) }
    }

    private mutating func take(_ octet: UInt8, _ result: inout [UInt8]) {
        guard let first = held.first else { return begin(octet, &result) }
        held.append(octet)
        guard first == Self.escape else { return endCharacter(first, octet, &result) }
        if let known = Self.escapes.first(where: { $0.octets == held }) {
            set = known.set
            held = []
        } else if !Self.escapes.contains(where: { $0.octets.starts(with: held) }) {
            // No sequence: what follows the escape is text.
            let rest = held.dropFirst()
            held = []
            result.append(Self.nothing)
            for octet in rest { take(octet, &result) }
        }
    }

    private mutating func begin(_ octet: UInt8, _ result: inout [UInt8]) {
        if octet == Self.escape {
            held = [octet]
        } else if octet <= 0x20 || octet == 0x7F {
            result.append(octet)
        } else if octet >= 0x80 {
            result.append(Self.nothing)
        } else {
            switch set {
            case .ascii: result.append(octet)
            case .katakana: result += octet <= 0x5F ? [0x8E, octet | 0x80] : [Self.nothing]
            case .kanji, .supplement: held = [octet]
            }
        }
    }

    private mutating func endCharacter(_ first: UInt8, _ octet: UInt8, _ result: inout [UInt8]) {
        held = []
        guard (0x21...0x7E).contains(octet) else {
            result.append(Self.nothing)
            return begin(octet, &result)
        }
        if set == .supplement { result.append(0x8F) }
        result += [first | 0x80, octet | 0x80]
    }
}
