import MIME

extension MailAddress {
    static let maximumLocalPart = 64
    static let maximumDomain = 255
    static let maximumLabel = 63
    /// RFC 5321 §4.5.3.1.3 allows a path 256 octets with its brackets.
    static let maximumAddress = 254

    init(_ scanner: inout ByteScanner, options: ParsingOptions) throws(EnvelopeError) {
        let start = scanner.position
        let (localPart, isIrregular) = try Self.localPart(&scanner, options: options)
        guard scanner.position - start <= Self.maximumLocalPart else { throw .localPartTooLong }
        guard scanner.take(UInt8(ascii: "@")) else { throw .malformedAddress }
        let domain = try Self.domain(&scanner, options: options)
        guard scanner.position - start <= Self.maximumAddress else { throw .pathTooLong }
        self.init(checkedLocalPart: localPart, isIrregular: isIrregular, domain: domain)
    }

    /// `Local-part = Dot-string / Quoted-string` (RFC 5321 §4.1.2).
    ///
    /// - Returns: it, and whether its dots are not where a Dot-string has them.
    private static func localPart(
        _ scanner: inout ByteScanner,
        options: ParsingOptions
    ) throws(EnvelopeError) -> (String, isIrregular: Bool) {
        scanner.peek == UInt8(ascii: "\"")
            ? (try quotedString(&scanner, options: options), false) : try dotString(&scanner, options: options)
    }

    private static func dotString(
        _ scanner: inout ByteScanner,
        options: ParsingOptions
    ) throws(EnvelopeError) -> (String, isIrregular: Bool) {
        let utf8 = options.contains(.utf8)
        let bytes = scanner.take { $0.isAtomText || $0 == .dot || (utf8 && $0 > 0x7F) }
        guard let first = bytes.first else { throw .malformedAddress }
        let isIrregular =
            first == .dot || bytes.last == .dot
            || zip(bytes, bytes.dropFirst()).contains { $0 == .dot && $1 == .dot }
        guard !isIrregular || options.contains(.irregularDots) && !bytes.allSatisfy({ $0 == .dot }) else {
            throw .malformedAddress
        }
        return (try text(bytes), isIrregular)
    }

    private static func quotedString(
        _ scanner: inout ByteScanner,
        options: ParsingOptions
    ) throws(EnvelopeError) -> String {
        let utf8 = options.contains(.utf8)
        var bytes: [UInt8] = []
        _ = scanner.next()
        while let byte = scanner.next() {
            switch byte {
            case UInt8(ascii: "\""): return try text(bytes[...])
            case UInt8(ascii: "\\"):
                guard let escaped = scanner.next(), escaped.isPrintable else { throw .malformedAddress }
                bytes.append(escaped)
            case _ where byte.isPrintable || (utf8 && byte > 0x7F):
                bytes.append(byte)
            default:
                throw .malformedAddress
            }
            guard bytes.count <= maximumLocalPart else { throw .localPartTooLong }
        }
        throw .malformedAddress
    }

    /// A domain name or an address literal.
    static func domain(
        _ scanner: inout ByteScanner,
        options: ParsingOptions
    ) throws(EnvelopeError) -> String {
        if scanner.peek == UInt8(ascii: "[") { return try addressLiteral(&scanner) }
        let utf8 = options.contains(.utf8)
        // The underscore is not RFC 5321's, but is found in names that receive mail.
        var bytes = scanner.take {
            $0.isLetterOrDigit || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == .dot
                || (utf8 && $0 > 0x7F)
        }
        guard bytes.count <= maximumDomain else { throw .domainTooLong }
        if options.contains(.irregularDots), bytes.last == .dot { bytes = bytes.dropLast() }
        for label in bytes.split(separator: .dot, omittingEmptySubsequences: false) {
            guard let first = label.first, first != UInt8(ascii: "-"), label.last != UInt8(ascii: "-") else {
                throw .malformedAddress
            }
            guard label.count <= maximumLabel else { throw .domainTooLong }
        }
        return try text(bytes)
    }

    private static func addressLiteral(_ scanner: inout ByteScanner) throws(EnvelopeError) -> String {
        _ = scanner.next()
        let content = scanner.take { $0.isPrintable && $0 != .space && !(0x5B...0x5D).contains($0) }
        guard scanner.take(UInt8(ascii: "]")), content.count <= maximumDomain - 2 else { throw .malformedAddress }
        guard AddressLiteral.isValid(content) else { throw .malformedAddress }
        return "[" + String(decoding: content, as: UTF8.self) + "]"
    }

    private static func text(_ bytes: ArraySlice<UInt8>) throws(EnvelopeError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .malformedAddress }
        return text
    }
}

/// The inside of an address literal (RFC 5321 §4.1.3).
package enum AddressLiteral {
    /// The IP address in a domain such as `[192.0.2.1]` or `[IPv6:2001:db8::1]`, as text; nil where it's no literal.
    package static func ipAddress(in domain: String) -> Substring? {
        guard domain.utf8.first == UInt8(ascii: "["), domain.utf8.last == UInt8(ascii: "]") else { return nil }
        let content = domain.dropFirst().dropLast()
        return ASCII.equal(content.utf8.prefix(5), "ipv6:") ? content.dropFirst(5) : content
    }

    static func isValid(_ content: ArraySlice<UInt8>) -> Bool {
        guard let colon = content.firstIndex(of: UInt8(ascii: ":")) else { return isIPv4(content) }
        // No other tag than IPv6 is registered.
        return ASCII.equal(content[..<colon], "ipv6") && isIPv6(content[(colon + 1)...])
    }

    static func isIPv4(_ bytes: ArraySlice<UInt8>) -> Bool {
        let parts = bytes.split(separator: .dot, omittingEmptySubsequences: false)
        return parts.count == 4
            && parts.allSatisfy { part in
                (1...3).contains(part.count) && part.allSatisfy(\.isDigit)
                    && part.reduce(0) { $0 * 10 + Int($1 - 0x30) } <= 255
            }
    }

    static func isIPv6(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let gap = doubleColon(in: bytes) else { return groups(bytes) == 8 }
        guard let head = groups(bytes[..<gap], isEnd: false), let tail = groups(bytes[(gap + 2)...]) else {
            return false
        }
        // The gap stands for two groups at least (RFC 5321 §4.1.3).
        return head + tail <= 6
    }

    private static func doubleColon(in bytes: ArraySlice<UInt8>) -> Int? {
        zip(bytes.indices, bytes.indices.dropFirst()).first {
            bytes[$0] == UInt8(ascii: ":") && bytes[$1] == UInt8(ascii: ":")
        }?.0
    }

    /// How many 16-bit groups are written here; nil where something else is.
    private static func groups(_ bytes: ArraySlice<UInt8>, isEnd: Bool = true) -> Int? {
        if bytes.isEmpty { return 0 }
        var count = 0
        let parts = bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if isEnd, index == parts.count - 1, part.contains(.dot) {
                guard isIPv4(part) else { return nil }
                count += 2
            } else {
                guard (1...4).contains(part.count), part.allSatisfy({ $0.hexadecimalValue != nil }) else { return nil }
                count += 1
            }
        }
        return count
    }
}
