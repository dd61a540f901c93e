import CUnistring
import MIME

/// The comparator i;unicode-casemap (RFC 5051): characters in title case, and then what they are made of, until nothing is made of
/// anything. In between, letters of ASCII are small here, which keeps ASCII texts as the full-text index has them.
enum UnicodeCasemap {
    /// Two texts are alike, or one is part of the other, where this is so of their folded forms. Octets that are no UTF-8
    /// become U+FFFD.
    static func fold(_ text: [UInt8]) -> [UInt8] {
        guard text.contains(where: { $0 >= 0x80 }) else { return text.map(ASCII.lower) }
        var folded: [UInt8] = []
        folded.reserveCapacity(text.count + text.count / 8)
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            if scalar.isASCII {
                folded.append(ASCII.lower(UInt8(truncatingIfNeeded: scalar.value)))
            } else {
                append(uc_totitle(scalar.value), to: &folded, depth: 0)
            }
        }
        return folded
    }

    /// By which texts are ordered: the folded form as the comparator has it.
    static func order(_ folded: some Sequence<UInt8>) -> [UInt8] { folded.map(ASCII.upper) }

    /// No character needs more steps.
    private static let maximumDepth = 8

    private static func append(_ character: UInt32, to folded: inout [UInt8], depth: Int) {
        let parts = depth < maximumDepth && !isHangul(character) ? decomposition(character) : []
        guard parts.isEmpty else {
            for part in parts { append(part, to: &folded, depth: depth + 1) }
            return
        }
        guard let scalar = Unicode.Scalar(character) else { return }
        if scalar.isASCII {
            folded.append(ASCII.lower(UInt8(truncatingIfNeeded: scalar.value)))
        } else {
            folded += UTF8.encode(scalar).map { Array($0) } ?? []
        }
    }

    /// Syllables, whose parts UnicodeData.txt doesn't name.
    private static func isHangul(_ character: UInt32) -> Bool { (0xAC00...0xD7A3).contains(character) }

    private static func decomposition(_ character: UInt32) -> [UInt32] {
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: Int(UC_DECOMPOSITION_MAX_LENGTH)) { room in
            guard let start = room.baseAddress else { return [] }
            let count = Int(CUnistring_decompose(character, start))
            return count > 0 && count <= room.count ? Array(room.prefix(count)) : []
        }
    }
}
