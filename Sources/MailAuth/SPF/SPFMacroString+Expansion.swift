import DNS

/// What the macros of a record stand for (RFC 7208 §7.2).
struct SPFMacroValues {
    let query: SPFQuery
    /// The domain whose record is being evaluated.
    var domain: [UInt8]
    /// The client's validated name, where a macro asks for it.
    var validatedName: [UInt8]

    func value(of letter: SPFMacro.Letter) -> [UInt8] {
        switch letter {
        case .sender: query.sender
        case .localPart: query.localPart
        case .senderDomain: query.domain
        case .domain: domain
        case .address: Self.dotted(query.address)
        case .validatedName: validatedName
        case .addressFamily: Array((query.isIPv6 ? "ip6" : "in-addr").utf8)
        case .helo: query.helo
        case .readableAddress: Array(AddressText.print(query.address).utf8)
        case .receiver: query.receiver
        case .timestamp: Array(String(query.secondsSince1970).utf8)
        }
    }

    /// Dotted decimal, or nibbles with dots between them.
    private static func dotted(_ address: [UInt8]) -> [UInt8] {
        guard address.count == 16 else { return Array(AddressText.print(address).utf8) }
        let nibbles = address.flatMap { [SPFQuery.nibble($0 >> 4), SPFQuery.nibble($0 & 15)] }
        return Array(nibbles.map { [$0] }.joined(separator: [UInt8(ascii: ".")]))
    }
}

extension SPFMacroString {
    /// The most octets that an expansion may have; what would be longer is no name and no explanation.
    static let maximumExpansion = 4096

    var needsValidatedName: Bool {
        parts.contains {
            if case .macro(let macro) = $0 { macro.letter == .validatedName } else { false }
        }
    }

    /// The text with its macros replaced; nil when that gets too long.
    func expanded(_ values: SPFMacroValues) -> [UInt8]? {
        var text: [UInt8] = []
        for part in parts {
            switch part {
            case .literal(let literal): text += literal
            case .macro(let macro): text += macro.expanded(values.value(of: macro.letter))
            }
            guard text.count <= Self.maximumExpansion else { return nil }
        }
        return text
    }

    /// The name to look up; nil where the text is none, so that the mechanism doesn't match. Labels on the left go
    /// where the name is too long (RFC 7208 §7.3); characters beyond ASCII match nothing (RFC 8616 §4).
    func expandedDomain(_ values: SPFMacroValues) -> [UInt8]? {
        guard var text = expanded(values), text.allSatisfy({ $0 < 0x80 }) else { return nil }
        if text.last == UInt8(ascii: ".") { text.removeLast() }
        var rest = text[...]
        while rest.count > 253 {
            guard let dot = rest.firstIndex(of: UInt8(ascii: ".")) else { return nil }
            rest = rest[(dot + 1)...]
        }
        return Array(rest)
    }
}

extension SPFMacro {
    func expanded(_ value: [UInt8]) -> [UInt8] {
        var value = value
        if rightmost != nil || isReversed || !delimiters.isEmpty {
            let delimiters = delimiters.isEmpty ? [UInt8(ascii: ".")] : delimiters
            var parts = value.split(omittingEmptySubsequences: false) { delimiters.contains($0) }
            if isReversed { parts.reverse() }
            if let rightmost { parts = parts.suffix(rightmost) }
            value = Array(parts.joined(separator: [UInt8(ascii: ".")]))
        }
        return isEscaped ? value.flatMap(Self.escaped) : value
    }

    /// Everything but the unreserved characters of RFC 3986 §2.3 as `%XX`.
    private static func escaped(_ octet: UInt8) -> [UInt8] {
        switch octet {
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): return [octet]
        case _ where octet &- 0x30 < 10 || (octet | 0x20) &- 0x61 < 26: return [octet]
        default:
            let digits = Array("0123456789ABCDEF".utf8)
            return [UInt8(ascii: "%"), digits[Int(octet >> 4)], digits[Int(octet & 15)]]
        }
    }
}
