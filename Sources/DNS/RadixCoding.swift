/// The encodings of RFC 4648 that presentation forms use: groups of bits as letters of an alphabet.
package struct RadixCoding: Sendable {
    private let alphabet: [UInt8]
    private let bits: Int
    /// How many letters make whole octets again; encoded text is filled up to a multiple of it. 1 for no padding.
    private let group: Int
    private let values: [UInt8]

    /// Base16 (RFC 4648 §8), written in capitals, read in any case.
    package static let hexadecimal = RadixCoding("0123456789ABCDEF", bits: 4, group: 1)
    /// Base32hex without padding, as NSEC3 writes it (RFC 5155 §3.3), read in any case.
    package static let base32hex = RadixCoding("0123456789ABCDEFGHIJKLMNOPQRSTUV", bits: 5, group: 1)
    /// Base64 with padding (RFC 4648 §4).
    package static let base64 = RadixCoding(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        bits: 6,
        group: 4
    )
    /// Base64url without padding, as DNS over HTTPS has it (RFC 4648 §5, RFC 8484 §6).
    package static let base64url = RadixCoding(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        bits: 6,
        group: 1
    )

    private init(_ alphabet: StaticString, bits: Int, group: Int) {
        self.alphabet = alphabet.withUTF8Buffer { Array($0) }
        self.bits = bits
        self.group = group
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
        while !text.count.isMultiple(of: group) { text.append(0x3D) }
        return text
    }

    private func letter(_ value: UInt32) -> UInt8 { alphabet[Int(value) & (1 << bits - 1)] }

    /// The octets; nil when there is a strange letter, half an octet, wrong padding, or bits that are lost.
    package func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        guard text.count.isMultiple(of: group) else { return nil }
        var octets: [UInt8] = []
        octets.reserveCapacity(text.count * bits / 8)
        var pending: UInt32 = 0
        var count = 0
        var padding = 0
        for letter in text {
            if letter == 0x3D, group > 1 {
                padding += 1
                continue
            }
            let value = values[Int(letter)]
            guard value != 0xFF, padding == 0 else { return nil }
            pending = pending << UInt32(bits) | UInt32(value)
            count += bits
            if count >= 8 {
                count -= 8
                octets.append(UInt8(truncatingIfNeeded: pending >> UInt32(count)))
            }
        }
        guard count < bits, pending & (1 << UInt32(count) - 1) == 0, padding <= 2 else { return nil }
        return octets
    }
}
