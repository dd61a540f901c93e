/// A message's name for its whole life: 56 bits of time and 64 random bits, written as 24 characters of base 32
/// without i, l, o and u. IDs sort by time and are never used again.
package struct MessageID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Microseconds since 1970; 56 bits.
    package let time: UInt64
    /// What makes it unique.
    package let random: UInt64

    /// Characters in the text form.
    package static let length = 24
    /// Directories that messages are spread over.
    package static let shards = 1024

    private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)

    /// An ID of its parts; of the time, the low 56 bits count.
    package init(time: UInt64, random: UInt64) {
        self.time = time & (1 << 56 - 1)
        self.random = random
    }

    /// Reads the text form, all of it; nil where it is something else.
    package init?(_ text: some Collection<UInt8>) {
        guard text.count == Self.length else { return nil }
        var high: UInt64 = 0
        var low: UInt64 = 0
        for character in text {
            guard let digit = Self.digit(character) else { return nil }
            high = high << 5 | low >> 59
            low = low << 5 | UInt64(digit)
        }
        self.init(time: high, random: low)
    }

    /// Reads the text form, all of it; nil where it is something else.
    package init?(_ text: String) { self.init(text.utf8) }

    /// Which directory the message is in: 0 to 1023.
    package var shard: Int { Int(random & 1023) }

    /// The name of a shard's directory: two characters, the last two of its IDs.
    package static func directory(_ shard: Int) -> String {
        String(decoding: [alphabet[shard >> 5 & 31], alphabet[shard & 31]], as: UTF8.self)
    }

    /// The text form.
    package var description: String {
        String(unsafeUninitializedCapacity: Self.length) { characters in
            var high = time
            var low = random
            for index in stride(from: Self.length - 1, through: 0, by: -1) {
                characters[index] = Self.alphabet[Int(low & 31)]
                low = low >> 5 | high << 59
                high >>= 5
            }
            return Self.length
        }
    }

    /// `XX/ID`, below `queue/` and `state/`.
    package var path: String {
        let text = description
        return "\(text.suffix(2))/\(text)"
    }

    /// By time, then by the random bits.
    package static func < (left: MessageID, right: MessageID) -> Bool {
        (left.time, left.random) < (right.time, right.random)
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        alphabet.firstIndex(of: character).flatMap { UInt8(exactly: $0) }
    }
}
