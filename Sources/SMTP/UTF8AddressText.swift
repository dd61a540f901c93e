/// An address in UTF-8 as ORCPT and reports write it (RFC 6533 §3).
package enum UTF8AddressText {
    /// In ASCII: `j\x{F6}rg@example.test` (`utf-8-addr-xtext`).
    package static func encode(_ address: String) -> String {
        var text = ""
        for scalar in address.unicodeScalars {
            switch scalar.value {
            case 0x21...0x7E where scalar != "\\" && scalar != "+" && scalar != "=": text.unicodeScalars.append(scalar)
            default: text += "\\x{\(String(scalar.value, radix: 16, uppercase: true))}"
            }
        }
        return text
    }

    /// The address that the text stands for, which may have UTF-8 itself, or the escapes of xtext; nil where it's none, has
    /// control characters or more octets than the maximum.
    package static func decode(_ text: ArraySlice<UInt8>, maximum: Int) -> String? {
        guard (1...maximum).contains(text.count) else { return nil }
        var scanner = ByteScanner(text)
        var octets: [UInt8] = []
        while let byte = scanner.next() {
            switch byte {
            case UInt8(ascii: "\\"):
                guard scanner.take(word: "X{"), let scalar = scalar(&scanner) else { return nil }
                octets += Array(String(Character(scalar)).utf8)
            case UInt8(ascii: "+"):
                guard let high = scanner.next()?.hexadecimalValue, let low = scanner.next()?.hexadecimalValue else {
                    return nil
                }
                octets.append(high << 4 | low)
            case UInt8(ascii: "="): return nil
            case 0x21...0x7E, 0x80...: octets.append(byte)
            default: return nil
            }
        }
        guard let address = String(validating: octets, as: UTF8.self),
            address.unicodeScalars.allSatisfy({ $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) })
        else { return nil }
        return address
    }

    /// `HEX "}"`.
    private static func scalar(_ scanner: inout ByteScanner) -> Unicode.Scalar? {
        let digits = scanner.take { $0.hexadecimalValue != nil }
        guard (1...6).contains(digits.count), scanner.take(UInt8(ascii: "}")) else { return nil }
        return Unicode.Scalar(digits.reduce(0 as UInt32) { $0 << 4 | UInt32($1.hexadecimalValue ?? 0) })
    }
}
