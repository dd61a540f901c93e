/// The encodings of RFC 4648 without padding that presentation forms use: groups of bits as letters of an alphabet.
/// Base64 with padding is `Base64`.
package struct RadixCoding: Sendable {
    private let alphabet: [UInt8]
    private let bits: Int
    private let values: [UInt8]

    /// Base16 (RFC 4648 §8), written in capitals, read in any case.
    package static let hexadecimal = RadixCoding("0123456789ABCDEF", bits: 4)
    /// Base32hex without padding, as NSEC3 writes it (RFC 5155 §3.3), read in any case.
    package static let base32hex = RadixCoding("0123456789ABCDEFGHIJKLMNOPQRSTUV", bits: 5)
    /// Base64url without padding, as DNS over HTTPS has it (RFC 4648 §5, RFC 8484 §6).
    package static let base64url = RadixCoding(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        bits: 6
    )

    private init(_ alphabet: StaticString, bits: Int) {
        self.alphabet = alphabet.withUTF8Buffer { Array($0) }
        self.bits = bits
        var values = [UInt8](repeating: 0xFF, count: 256)
        for (value, letter) in self.alphabet.enumerated() {
            values[Int(letter)] = UInt8(value)
            if bits < 6 { values[Int(asciiLowercased(letter))] = UInt8(value) }
        }
        self.values = values
    }

    package func encode(_ octets: some Sequence<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        var pending: UInt32 = 0
        var count = 0
        for octet in octets {
            pending = pending << 8 | UInt32(octet)
            count += 8
            while count >= bits {
                count -= bits
                text.append(letter(pending >> UInt32(count)))
            }
        }
        if count > 0 { text.append(letter(pending << UInt32(bits - count))) }
        return text
    }

    private func letter(_ value: UInt32) -> UInt8 { alphabet[Int(value) & (1 << bits - 1)] }

    /// The octets; nil when there is a strange letter, half an octet, or bits that are lost.
    package func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var octets: [UInt8] = []
        octets.reserveCapacity(text.count * bits / 8)
        var pending: UInt32 = 0
        var count = 0
        for letter in text {
            let value = values[Int(letter)]
            guard value != 0xFF else { return nil }
            pending = pending << UInt32(bits) | UInt32(value)
            count += bits
            if count >= 8 {
                count -= 8
                octets.append(UInt8(truncatingIfNeeded: pending >> UInt32(count)))
            }
        }
        guard count < bits, pending & (1 << UInt32(count) - 1) == 0 else { return nil }
        return octets
    }
}
