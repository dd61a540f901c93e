/// File names as text. A name is any octets but NUL and `/`; those that are no UTF-8 are written as scalars that mean nothing
/// to anybody, U+10FF00 and the octet, and read back from them by `KernelFileSystem`.
package enum FileName {
    /// What would stand for the octet 0; those from 0x80 on are written so.
    private static let first: UInt32 = 0x10FF00
    /// With which the UTF-8 of these scalars begins.
    private static let leader: UInt8 = 0xF4

    /// A name, or a path, as text.
    package static func text(_ octets: [UInt8]) -> String {
        let text = String(decoding: octets, as: UTF8.self)
        // Nothing had to be replaced, and nothing looks as if it had been.
        if octets.allSatisfy({ $0 < 0x80 }) || text.utf8.elementsEqual(octets) && !mayBeEscaped(text) { return text }
        var result = String.UnicodeScalarView()
        var rest = octets[...]
        while let octet = rest.first {
            if let scalar = scalar(at: rest), !isEscape(scalar) {
                result.append(scalar)
                rest = rest.dropFirst(UTF8.width(scalar))
            } else {
                result.append(escape(octet))
                rest = rest.dropFirst()
            }
        }
        return String(result)
    }

    /// The octets of a name or a path; nil where they are its UTF-8.
    package static func octets(of text: String) -> [UInt8]? {
        guard mayBeEscaped(text), text.unicodeScalars.contains(where: isEscape) else { return nil }
        var octets: [UInt8] = []
        for scalar in text.unicodeScalars {
            if isEscape(scalar) {
                octets.append(UInt8(truncatingIfNeeded: scalar.value))
            } else {
                octets.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            }
        }
        return octets
    }

    private static func mayBeEscaped(_ text: String) -> Bool { text.utf8.contains(leader) }

    private static func isEscape(_ scalar: Unicode.Scalar) -> Bool {
        // ASCII is never written so: a name can't bring a `/` or a NUL into a path.
        ((first + 0x80)...(first + 0xFF)).contains(scalar.value)
    }

    private static func escape(_ octet: UInt8) -> Unicode.Scalar {
        Unicode.Scalar(first + UInt32(octet)) ?? Unicode.Scalar(octet)
    }

    /// The scalar that octets begin with, where they are UTF-8.
    private static func scalar(at octets: ArraySlice<UInt8>) -> Unicode.Scalar? {
        var iterator = octets.makeIterator()
        var decoder = UTF8()
        guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return nil }
        return scalar
    }
}
