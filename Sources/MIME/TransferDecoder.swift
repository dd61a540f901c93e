/// Undoes a content transfer encoding (RFC 2045 §6), piece by piece and tolerantly, so that text can be searched.
package struct TransferDecoder: Sendable {
    /// What the body is encoded in.
    package enum Encoding: Sendable, Equatable {
        case identity
        case base64
        case quotedPrintable

        /// By the value of a Content-Transfer-Encoding field; unknown ones count as identity.
        package init(field: [UInt8]) {
            let name = ASCII.trim(field[...])
            if ASCII.equal(name, "base64") {
                self = .base64
            } else if ASCII.equal(name, "quoted-printable") {
                self = .quotedPrintable
            } else {
                self = .identity
            }
        }
    }

    private let encoding: Encoding
    private var bits: UInt32 = 0
    private var bitCount = 0
    /// What followed a `=` at the end of the former piece.
    private var held: [UInt8] = []

    package init(_ encoding: Encoding) { self.encoding = encoding }

    /// Decodes the next piece and appends what it means.
    package mutating func decode(_ octets: some Collection<UInt8>, into text: inout [UInt8]) {
        switch encoding {
        case .identity: text.append(contentsOf: octets)
        case .base64: for octet in octets { base64(octet, &text) }
        case .quotedPrintable: for octet in octets { quotedPrintable(octet, &text) }
        }
    }

    /// The end: appends what was held back.
    package mutating func finish(into text: inout [UInt8]) {
        text += held
        held = []
    }

    private mutating func base64(_ octet: UInt8, _ text: inout [UInt8]) {
        if octet == UInt8(ascii: "=") {
            bitCount = 0
            return
        }
        guard let value = Self.base64Value(octet) else { return }
        bits = bits << 6 | value
        bitCount += 6
        if bitCount >= 8 {
            bitCount -= 8
            text.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
        }
    }

    /// The value of a character of base64's alphabet (RFC 4648 §4).
    package static func base64Value(_ character: UInt8) -> UInt32? {
        switch character {
        case 0x41...0x5A: UInt32(character) - 0x41
        case 0x61...0x7A: UInt32(character) - 0x61 + 26
        case 0x30...0x39: UInt32(character) - 0x30 + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }

    private mutating func quotedPrintable(_ octet: UInt8, _ text: inout [UInt8]) {
        guard !held.isEmpty else {
            if octet == UInt8(ascii: "=") { held.append(octet) } else { text.append(octet) }
            return
        }
        if octet == ASCII.lineFeed {
            held = []  // a soft line break
            return
        }
        held.append(octet)
        guard held.count == 3 else { return }
        if let high = ASCII.hexadecimal(held[1]), let low = ASCII.hexadecimal(held[2]) {
            text.append(high << 4 | low)
        } else {
            text += held
        }
        held = []
    }
}
