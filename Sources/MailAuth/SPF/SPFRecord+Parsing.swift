import DNS

extension SPFRecord {
    /// Reads a record, the strings of the TXT record being joined already.
    ///
    /// - Throws: the first thing that is wrong; the result of the check is then permerror (RFC 7208 §4.6).
    package init(parsing text: [UInt8]) throws(SPFSyntaxError) {
        guard Self.isRecord(text) else { throw SPFSyntaxError(.notARecord, at: 0) }
        if let index = text.firstIndex(where: { $0 >= 0x80 }) { throw SPFSyntaxError(.notASCII, at: index) }
        for term in text[Self.versionLength...].split(separator: 0x20) { try add(term) }
    }

    private mutating func add(_ term: ArraySlice<UInt8>) throws(SPFSyntaxError) {
        let name = term.prefix(while: Self.isNameOctet)
        if let first = name.first, (first | 0x20) &- 0x61 < 26, name.endIndex < term.endIndex,
            term[name.endIndex] == UInt8(ascii: "=")
        {
            try addModifier(name, value: term[(name.endIndex + 1)...])
        } else {
            directives.append(try SPFDirective(parsing: term))
        }
    }

    private mutating func addModifier(
        _ name: ArraySlice<UInt8>,
        value: ArraySlice<UInt8>
    ) throws(SPFSyntaxError) {
        switch String(decoding: name.map(asciiLowercased), as: UTF8.self) {
        case "redirect":
            guard redirect == nil else { throw SPFSyntaxError(.repeatedModifier, at: name.startIndex) }
            redirect = try SPFMacroParser.parse(value, use: .domain)
        case "exp":
            guard explanation == nil else { throw SPFSyntaxError(.repeatedModifier, at: name.startIndex) }
            explanation = try SPFMacroParser.parse(value, use: .domain)
        default:
            _ = try SPFMacroParser.parse(value, use: .unknownModifier)
            unknownModifiers.append(Array(name))
        }
    }

    private static func isNameOctet(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."): true
        default: octet &- 0x30 < 10 || (octet | 0x20) &- 0x61 < 26
        }
    }
}

extension SPFDirective {
    init(parsing term: ArraySlice<UInt8>) throws(SPFSyntaxError) {
        var rest = term
        var qualifier = SPFQualifier.pass
        if let first = rest.first, let written = SPFQualifier(rawValue: first) {
            qualifier = written
            rest = rest.dropFirst()
        }
        let name = rest.prefix { $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: "/") }
        self.qualifier = qualifier
        mechanism = try Self.mechanism(name, rest[name.endIndex...])
        text = Array(term)
    }

    private static func mechanism(
        _ name: ArraySlice<UInt8>,
        _ rest: ArraySlice<UInt8>
    ) throws(SPFSyntaxError) -> SPFMechanism {
        switch String(decoding: name.map(asciiLowercased), as: UTF8.self) {
        case "all":
            guard rest.isEmpty else { throw SPFSyntaxError(.unexpectedArgument, at: rest.startIndex) }
            return .all
        case "include": return .include(try domain(rest))
        case "exists": return .exists(try domain(rest))
        case "ptr": return .ptr(rest.isEmpty ? nil : try domain(rest))
        case "a":
            let (domain, lengths) = try domainAndLengths(rest)
            return .a(domain, lengths)
        case "mx":
            let (domain, lengths) = try domainAndLengths(rest)
            return .mx(domain, lengths)
        case "ip4":
            let (text, length) = try network(rest, most: 32)
            guard let address = AddressText.parse4(text) else { throw SPFSyntaxError(.badAddress, at: text.startIndex) }
            return .ip4(address, prefix: length)
        case "ip6":
            let (text, length) = try network(rest, most: 128)
            guard let address = AddressText.parse6(text) else { throw SPFSyntaxError(.badAddress, at: text.startIndex) }
            return .ip6(address, prefix: length)
        default:
            throw SPFSyntaxError(.unknownMechanism, at: name.startIndex)
        }
    }

    private static func domain(_ rest: ArraySlice<UInt8>) throws(SPFSyntaxError) -> SPFMacroString {
        guard rest.first == UInt8(ascii: ":") else { throw SPFSyntaxError(.missingDomain, at: rest.startIndex) }
        return try SPFMacroParser.parse(rest.dropFirst(), use: .domain)
    }

    /// `[":" domain-spec] [dual-cidr-length]`. A domain may hold slashes, but can't end in one and digits.
    private static func domainAndLengths(
        _ rest: ArraySlice<UInt8>
    ) throws(SPFSyntaxError) -> (SPFMacroString?, SPFPrefixLengths) {
        let tail = rest.suffix(while: { $0 == UInt8(ascii: "/") || $0 &- 0x30 < 10 })
        let cut = tail.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
        var lengths = SPFPrefixLengths()
        var written = rest[cut...]
        if written.starts(with: [UInt8(ascii: "/"), UInt8(ascii: "/")]) {
            lengths.ip6 = try length(written.dropFirst(2), most: 128)
        } else if written.popFirst() != nil {
            let first = written.prefix { $0 != UInt8(ascii: "/") }
            lengths.ip4 = try length(first, most: 32)
            written = written[first.endIndex...]
            if !written.isEmpty {
                guard written.starts(with: [UInt8(ascii: "/"), UInt8(ascii: "/")]) else {
                    throw SPFSyntaxError(.badPrefixLength, at: written.startIndex)
                }
                lengths.ip6 = try length(written.dropFirst(2), most: 128)
            }
        }
        return (cut == rest.startIndex ? nil : try domain(rest[..<cut]), lengths)
    }

    private static func network(
        _ rest: ArraySlice<UInt8>,
        most: Int
    ) throws(SPFSyntaxError) -> (ArraySlice<UInt8>, Int) {
        guard rest.first == UInt8(ascii: ":") else { throw SPFSyntaxError(.badAddress, at: rest.startIndex) }
        let text = rest.dropFirst()
        guard let slash = text.firstIndex(of: UInt8(ascii: "/")) else { return (text, most) }
        return (text[..<slash], try length(text[(slash + 1)...], most: most))
    }

    /// Digits without a zero before them.
    private static func length(_ digits: ArraySlice<UInt8>, most: Int) throws(SPFSyntaxError) -> Int {
        guard (1...3).contains(digits.count), digits.count == 1 || digits.first != 0x30,
            digits.allSatisfy({ $0 &- 0x30 < 10 })
        else { throw SPFSyntaxError(.badPrefixLength, at: digits.startIndex) }
        let number = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        guard number <= most else { throw SPFSyntaxError(.badPrefixLength, at: digits.startIndex) }
        return number
    }
}

extension ArraySlice<UInt8> {
    fileprivate func suffix(while condition: (UInt8) -> Bool) -> ArraySlice<UInt8> {
        var start = endIndex
        while start > startIndex, condition(self[start - 1]) { start -= 1 }
        return self[start...]
    }
}
