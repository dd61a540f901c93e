import DNS
import NIOCore

/// A query of the usual form, looked at in place: one question, and at most an OPT record behind it.
struct PlainQueryView {
    private let octets: UnsafeRawBufferPointer
    /// Behind the question.
    private let end: Int
    /// What else makes an answer differ: EDNS, DO, CD, AD, RD, and whether the client may use recursion.
    let variant: UInt8
    /// The most octets that the client takes in a datagram.
    let payloadSize: Int
    /// What it asks for by options; the answer's OPT record alone has to do with it.
    let wishes: QueryWishes

    /// nil for anything unusual, which is then decoded with care.
    init?(_ octets: UnsafeRawBufferPointer, mayRecurse: Bool) {
        // Shortest: the header and a question about the root.
        guard octets.count >= 17, octets[2] & 0xFE == 0, octets[3] & 0x4F == 0 else { return nil }
        guard octets[4] == 0, octets[5] == 1, octets[6] == 0, octets[7] == 0, octets[8] == 0, octets[9] == 0,
            octets[10] == 0, octets[11] <= 1
        else { return nil }
        var position = DNSMessage.headerOctets
        while true {
            guard position < octets.count else { return nil }
            let length = Int(octets[position])
            guard length <= DomainName.maximumLabelOctets else { return nil }
            position += 1 + length
            if length == 0 { break }
        }
        let end = position + 4
        guard end <= octets.count, position - DNSMessage.headerOctets <= DomainName.maximumOctets else { return nil }
        var variant = (octets[2] & 1) | ((octets[3] & 0x10) >> 3) | (mayRecurse ? 4 : 0) | (octets[3] & 0x20)
        var payloadSize = 512
        var wishes: QueryWishes = []
        if octets[11] == 1 {
            // Name, type, payload size, extended code, version, flags, length.
            guard octets.count - end >= 11, octets[end] == 0, octets[end + 1] == 0, octets[end + 2] == 41,
                octets[end + 6] == 0,
                octets.count - end - 11 == Int(octets[end + 9]) << 8 | Int(octets[end + 10])
            else { return nil }
            guard let found = Self.wishes(octets, from: end + 11) else { return nil }
            wishes = found
            variant |= 8 | ((octets[end + 7] & 0x80) >> 3)
            payloadSize = max(512, Int(octets[end + 3]) << 8 | Int(octets[end + 4]))
        } else if octets.count != end {
            return nil
        }
        self.octets = octets
        self.end = end
        self.variant = variant
        self.payloadSize = payloadSize
        self.wishes = wishes
    }

    /// What the options ask for; nil where they haven't the form of options.
    private static func wishes(_ octets: UnsafeRawBufferPointer, from start: Int) -> QueryWishes? {
        var wishes: QueryWishes = []
        var position = start
        while position < octets.count {
            guard octets.count - position >= 4 else { return nil }
            wishes.add(UInt16(octets[position]) << 8 | UInt16(octets[position + 1]))
            position += 4 + (Int(octets[position + 2]) << 8 | Int(octets[position + 3]))
        }
        return position == octets.count ? wishes : nil
    }

    private var question: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: octets[DNSMessage.headerOctets..<end])
    }

    func hash(_ seed: UInt64) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(seed)
        hasher.combine(variant)
        for word in foldedWords(question) { hasher.combine(word) }
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// Whether the question is `other`, case aside.
    func matches(_ other: [UInt8]) -> Bool {
        guard other.count == question.count else { return false }
        return other.withUnsafeBytes { other in
            // Type and class are numbers, not letters.
            other.suffix(4).elementsEqual(question.suffix(4))
                && foldedWords(other).elementsEqual(foldedWords(question))
        }
    }

    /// Puts the query's ID and its question's case into an answer to the same question.
    func personalize(_ answer: inout ByteBuffer) {
        answer.setBytes(octets[..<2], at: answer.readerIndex)
        answer.setBytes(question, at: answer.readerIndex + DNSMessage.headerOctets)
    }

    /// A copy to keep.
    var copy: PlainQuery { PlainQuery(question: Array(question), variant: variant) }
}

/// What of a plain query identifies its answer.
struct PlainQuery: Sendable {
    let question: [UInt8]
    let variant: UInt8

    func hash(_ seed: UInt64) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(seed)
        hasher.combine(variant)
        question.withUnsafeBytes { octets in
            for word in foldedWords(octets) { hasher.combine(word) }
        }
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}
