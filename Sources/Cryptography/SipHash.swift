/// SipHash-2-4: a short keyed hash that is cheap for few octets (Aumasson, Bernstein 2012), as RFC 9018 §4.4 asks for.
package struct SipHash: Sendable {
    private let first: UInt64
    private let second: UInt64

    /// How many octets a key has.
    package static let keyLength = 16

    /// With a key that nobody knows.
    package init() {
        var generator = SystemRandomNumberGenerator()
        first = generator.next()
        second = generator.next()
    }

    /// - Parameter key: 16 octets; nil for another number of them.
    package init?(key: [UInt8]) {
        guard key.count == Self.keyLength else { return nil }
        (first, second) = key.withUnsafeBytes {
            (Self.word($0, at: 0, octets: 8), Self.word($0, at: 8, octets: 8))
        }
    }

    /// The hash, whose octets on the wire are those of the number with the lowest first.
    package func hash(_ message: UnsafeRawBufferPointer) -> UInt64 {
        var state = State(first, second)
        var position = 0
        while message.count - position >= 8 {
            state.absorb(Self.word(message, at: position, octets: 8))
            position += 8
        }
        let rest = Self.word(message, at: position, octets: message.count - position)
        state.absorb(rest | UInt64(truncatingIfNeeded: message.count) << 56)
        return state.finish()
    }

    /// The hash of a message.
    package func hash(_ message: [UInt8]) -> UInt64 { message.withUnsafeBytes { hash($0) } }

    /// Up to eight octets as a number, the lowest first.
    private static func word(_ octets: UnsafeRawBufferPointer, at position: Int, octets count: Int) -> UInt64 {
        if count == 8 {
            return UInt64(littleEndian: octets.loadUnaligned(fromByteOffset: position, as: UInt64.self))
        }
        var word: UInt64 = 0
        for index in 0..<count { word |= UInt64(octets[position + index]) << UInt64(8 * index) }
        return word
    }

    private struct State {
        private var a: UInt64
        private var b: UInt64
        private var c: UInt64
        private var d: UInt64

        init(_ first: UInt64, _ second: UInt64) {
            // "somepseudorandomlygeneratedbytes"
            a = first ^ 0x736F_6D65_7073_6575
            b = second ^ 0x646F_7261_6E64_6F6D
            c = first ^ 0x6C79_6765_6E65_7261
            d = second ^ 0x7465_6462_7974_6573
        }

        mutating func absorb(_ word: UInt64) {
            d ^= word
            round()
            round()
            a ^= word
        }

        mutating func finish() -> UInt64 {
            c ^= 0xFF
            for _ in 0..<4 { round() }
            return a ^ b ^ c ^ d
        }

        private mutating func round() {
            a &+= b
            b = b << 13 | b >> 51
            b ^= a
            a = a << 32 | a >> 32
            c &+= d
            d = d << 16 | d >> 48
            d ^= c
            a &+= d
            d = d << 21 | d >> 43
            d ^= a
            c &+= b
            b = b << 17 | b >> 47
            b ^= c
            c = c << 32 | c >> 32
        }
    }
}
