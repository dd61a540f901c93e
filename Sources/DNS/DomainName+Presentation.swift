extension DomainName {
    /// A name from its presentation form (RFC 1035 §5.1), with `\DDD` and `\X` escapes. Without a dot at the end it
    /// is relative to `origin`; `@` alone is the origin itself.
    ///
    /// - Throws: what is wrong with the text.
    package init(presentation text: some Collection<UInt8>, origin: DomainName = .root) throws(NameError) {
        if text.count == 1, let only = text.first {
            if only == 0x40 {
                self = origin
                return
            }
            if only == 0x2E {
                self = .root
                return
            }
        }
        var wire: [UInt8] = [0]
        var lengthAt = 0
        var octets = text.makeIterator()
        var absolute = false
        while let octet = octets.next() {
            if octet == 0x2E {
                guard wire.count - lengthAt > 1 else { throw .emptyLabel }
                lengthAt = wire.count
                wire.append(0)
                absolute = true
                continue
            }
            absolute = false
            wire.append(octet == 0x5C ? try unescaped(&octets) : octet)
            let length = wire.count - lengthAt - 1
            guard length <= Self.maximumLabelOctets else { throw .labelTooLong }
            guard wire.count < Self.maximumOctets else { throw .nameTooLong }
            wire[lengthAt] = UInt8(length)
        }
        guard wire.count > 1 else { throw .malformed }
        if !absolute { wire.append(contentsOf: origin.wire) }
        guard wire.count <= Self.maximumOctets else { throw .nameTooLong }
        self.init(checked: wire)
    }

    /// A name from its presentation form; with or without the dot at the end it is absolute.
    ///
    /// - Throws: what is wrong with the text.
    package init(_ text: String) throws(NameError) {
        try self.init(presentation: Array(text.utf8))
    }

    /// The presentation form with its dot at the end, as octets.
    package var presentation: [UInt8] {
        guard !isRoot else { return [0x2E] }
        var text: [UInt8] = []
        text.reserveCapacity(wireCount)
        for label in labels {
            for octet in label { appendEscaped(octet, to: &text) }
            text.append(0x2E)
        }
        return text
    }
}

extension DomainName: CustomStringConvertible {
    /// The presentation form with its dot at the end.
    package var description: String { String(decoding: presentation, as: UTF8.self) }
}

/// The octet that an escape stands for, its backslash being read already.
func unescaped(_ octets: inout some IteratorProtocol<UInt8>) throws(NameError) -> UInt8 {
    guard let first = octets.next() else { throw .badEscape }
    guard isDigit(first) else { return first }
    guard let second = octets.next(), isDigit(second), let third = octets.next(), isDigit(third) else {
        throw .badEscape
    }
    let value = (Int(first) - 0x30) * 100 + (Int(second) - 0x30) * 10 + Int(third) - 0x30
    guard value <= 255 else { throw .badEscape }
    return UInt8(value)
}

@inline(__always)
func isDigit(_ octet: UInt8) -> Bool { octet &- 0x30 < 10 }

/// `\DDD` for an octet.
func appendDecimalEscape(_ octet: UInt8, to text: inout [UInt8]) {
    text.append(contentsOf: [0x5C, 0x30 + octet / 100, 0x30 + octet / 10 % 10, 0x30 + octet % 10])
}

private func appendEscaped(_ octet: UInt8, to text: inout [UInt8]) {
    switch octet {
    case 0x2E, 0x5C, 0x22, 0x28, 0x29, 0x3B, 0x40, 0x24:  // . \ " ( ) ; @ $
        text.append(0x5C)
        text.append(octet)
    case 0x21...0x7E:
        text.append(octet)
    default:
        appendDecimalEscape(octet, to: &text)
    }
}
