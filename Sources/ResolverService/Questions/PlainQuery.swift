import DNS
import NIOCore

/// A query of the usual form, looked at in place: one question, and at most an OPT record behind it.
struct PlainQueryView {
    private let octets: UnsafeRawBufferPointer
    /// Behind the question.
    private let end: Int
    /// What else makes an answer differ: EDNS, DO, CO, CD, AD, RD, and what the client may have.
    let variant: UInt16
    /// The most octets that the client takes in a datagram.
    let payloadSize: Int
    private let options: Options

    /// nil for anything unusual, which is then decoded with care.
    init?(_ octets: UnsafeRawBufferPointer, _ rights: ClientRights) {
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
        var variant = UInt16((octets[2] & 1) | ((octets[3] & 0x10) >> 3) | rights.rawValue | (octets[3] & 0x20))
        var payloadSize = 512
        var options = Options()
        if octets[11] == 1 {
            // Name, type, payload size, extended code, version, flags, length.
            guard octets.count - end >= 11, octets[end] == 0, octets[end + 1] == 0, octets[end + 2] == 41,
                octets[end + 6] == 0,
                octets.count - end - 11 == Int(octets[end + 9]) << 8 | Int(octets[end + 10])
            else { return nil }
            // Other options than these have an effect on no answer; their form is checked all the same.
            guard let known = Options(octets, from: end + 11) else { return nil }
            options = known
            variant |= 8 | UInt16(octets[end + 7] & 0x80) >> 3 | UInt16(octets[end + 7] & 0x40) << 2
            payloadSize = max(512, Int(octets[end + 3]) << 8 | Int(octets[end + 4]))
        } else if octets.count != end {
            return nil
        }
        self.octets = octets
        self.end = end
        self.variant = variant
        self.payloadSize = payloadSize
        self.options = options
    }

    /// Options that are answered with one, and don't change the rest of an answer.
    private struct Options {
        /// Where a cookie of a good length is.
        var cookie: Range<Int>?
        var asksForIdentity = false
        var wishes: QueryWishes = []

        init() {}

        /// nil where they aren't well formed.
        init?(_ octets: UnsafeRawBufferPointer, from start: Int) {
            var position = start
            while position < octets.count {
                guard octets.count - position >= 4 else { return nil }
                let code = UInt16(octets[position]) << 8 | UInt16(octets[position + 1])
                let length = Int(octets[position + 2]) << 8 | Int(octets[position + 3])
                position += 4 + length
                guard position <= octets.count else { return nil }
                wishes.add(code)
                if code == EDNS.identityOptionCode { asksForIdentity = true }
                guard code == CookieOption.code, cookie == nil else { continue }
                let server = length - CookieOption.clientLength
                guard server == 0 || CookieOption.serverLengths.contains(server) else { return nil }
                cookie = (position - length)..<position
            }
        }
    }

    /// The client's cookies, its own and the server's; nil where it sent none.
    var cookie: (client: UnsafeRawBufferPointer, server: UnsafeRawBufferPointer)? {
        guard let range = options.cookie else { return nil }
        let middle = range.lowerBound + CookieOption.clientLength
        return (
            UnsafeRawBufferPointer(rebasing: octets[range.lowerBound..<middle]),
            UnsafeRawBufferPointer(rebasing: octets[middle..<range.upperBound])
        )
    }

    /// Whether the server's identity is asked for.
    var asksForIdentity: Bool { options.asksForIdentity }

    /// What else it asks for by options; the answer's OPT record alone has to do with it.
    var wishes: QueryWishes { options.wishes }

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
    let variant: UInt16

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
