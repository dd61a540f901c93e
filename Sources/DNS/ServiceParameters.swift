import Encodings

/// The parameters of SVCB and HTTPS records, from and to text (RFC 9460 §2.1 and appendix A).
enum ServiceParameters {
    /// Those whose values have a form of their own (RFC 9460 §14.3.2, RFC 9461 §5, RFC 9540 §4).
    private enum Key: UInt16 {
        case mandatory, alpn, noDefaultALPN, port, ipv4Hint, ech, ipv6Hint, dohPath, obliviousHTTP
    }

    private static let names = [
        "mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp",
    ]

    // MARK: Text to octets

    /// The wire form of words such as `alpn="h2,h3"`, in order of the keys.
    ///
    /// - Parameter isAlias: whether the priority is 0, which goes with no parameters.
    /// - Throws: what is wrong, for people.
    static func parse(_ tokens: ArraySlice<MasterFileToken>, isAlias: Bool) throws(RecordTextError) -> [UInt8] {
        guard !isAlias || tokens.isEmpty else { throw RecordTextError("an alias (priority 0) has no parameters") }
        var parameters: [UInt16: [UInt8]] = [:]
        var tokens = tokens
        while let token = tokens.popFirst() {
            guard !token.isQuoted, !token.isAttached else { throw RecordTextError("a parameter without a key") }
            let parts = token.octets.split(separator: 0x3D, maxSplits: 1, omittingEmptySubsequences: false)
            let key = try key(parts[0])
            var value = parts.count == 2 ? Array(parts[1]) : nil
            if value?.isEmpty == true, let next = tokens.first, next.isQuoted, next.isAttached {
                value = next.octets
                tokens.removeFirst()
            }
            let octets = try octets(of: key, value)
            guard parameters.updateValue(octets, forKey: key) == nil else {
                throw RecordTextError("\(name(key)) is there twice")
            }
        }
        try check(parameters)
        return parameters.sorted { $0.key < $1.key }.flatMap { key, value in
            [UInt8](integer: key) + [UInt8](integer: UInt16(truncatingIfNeeded: value.count)) + value
        }
    }

    /// What parameters demand of each other (RFC 9460 §7.1.1 and §8).
    private static func check(_ parameters: [UInt16: [UInt8]]) throws(RecordTextError) {
        if parameters[Key.noDefaultALPN.rawValue] != nil, parameters[Key.alpn.rawValue] == nil {
            throw RecordTextError("no-default-alpn without alpn")
        }
        for key in keys(parameters[Key.mandatory.rawValue] ?? []) where parameters[key] == nil {
            throw RecordTextError("\(name(key)) is mandatory and isn't there")
        }
    }

    private static func octets(of key: UInt16, _ text: [UInt8]?) throws(RecordTextError) -> [UInt8] {
        let value = try CharacterString.unescape(text ?? [])
        guard value.count <= 0xFFFF else { throw RecordTextError("\(name(key)) is too long") }
        switch Key(rawValue: key) {
        case nil: return value
        case .noDefaultALPN, .obliviousHTTP:
            guard text == nil else { throw RecordTextError("\(name(key)) has no value") }
            return []
        case .some where value.isEmpty: throw RecordTextError("\(name(key)) needs a value")
        case .mandatory: return try mandatory(value)
        case .alpn: return try protocols(value)
        case .port:
            guard let port = decimal(value).flatMap(UInt16.init(exactly:)) else { throw RecordTextError("no port") }
            return [UInt8](integer: port)
        case .ipv4Hint: return try addresses(value, AddressText.parse4)
        case .ipv6Hint: return try addresses(value, AddressText.parse6)
        case .ech:
            guard let octets = Base64.decode(value) else { throw RecordTextError("no base64 in ech") }
            return octets
        case .dohPath: return value
        }
    }

    private static func mandatory(_ value: [UInt8]) throws(RecordTextError) -> [UInt8] {
        var keys: [UInt16] = []
        for item in try list(value) { keys.append(try key(item)) }
        guard Set(keys).count == keys.count, !keys.contains(Key.mandatory.rawValue) else {
            throw RecordTextError("mandatory names itself, or a key twice")
        }
        return keys.sorted().flatMap { [UInt8](integer: $0) }
    }

    private static func protocols(_ value: [UInt8]) throws(RecordTextError) -> [UInt8] {
        var octets: [UInt8] = []
        for item in try list(value) {
            guard (1...255).contains(item.count) else { throw RecordTextError("an alpn has 1 to 255 octets") }
            octets.append(UInt8(item.count))
            octets += item
        }
        return octets
    }

    private static func addresses(
        _ value: [UInt8],
        _ parse: (ArraySlice<UInt8>) -> [UInt8]?
    ) throws(RecordTextError) -> [UInt8] {
        var octets: [UInt8] = []
        for item in value.split(separator: 0x2C, omittingEmptySubsequences: false) {
            guard let address = parse(item) else {
                throw RecordTextError("no address: \(String(decoding: item, as: UTF8.self))")
            }
            octets += address
        }
        return octets
    }

    /// The items of a list in which `\,` is a comma and `\\` a backslash (RFC 9460 appendix A.1).
    private static func list(_ value: [UInt8]) throws(RecordTextError) -> [[UInt8]] {
        var items: [[UInt8]] = [[]]
        var octets = value.makeIterator()
        while let octet = octets.next() {
            switch octet {
            case 0x2C: items.append([])
            case 0x5C:
                guard let escaped = octets.next() else { throw RecordTextError("a wrong escape") }
                items[items.count - 1].append(escaped)
            default: items[items.count - 1].append(octet)
            }
        }
        guard !items.contains([]) else { throw RecordTextError("an empty item in a list") }
        return items
    }

    private static func key(_ text: some Collection<UInt8>) throws(RecordTextError) -> UInt16 {
        let text = String(decoding: text, as: UTF8.self)
        if let number = names.firstIndex(of: text) { return UInt16(number) }
        guard text.hasPrefix("key"), let number = decimal(text.utf8.dropFirst(3)).flatMap(UInt16.init(exactly:)),
            text == "key\(number)"
        else { throw RecordTextError("no parameter: \(text)") }
        return number
    }

    // MARK: Octets to text

    /// The words for parameters as they are on the wire; nil for what is malformed (RFC 9460 §2.2).
    static func print(_ octets: ArraySlice<UInt8>) -> String? {
        var words: [String] = []
        var previous = -1
        var reader = MessageReader(Array(octets))
        while !reader.isAtEnd {
            guard let key = try? reader.readInteger16(), Int(key) > previous, let length = try? reader.readInteger16(),
                let value = try? reader.readOctets(Int(length)), let word = word(key, Array(value))
            else { return nil }
            previous = Int(key)
            words.append(word)
        }
        return words.joined(separator: " ")
    }

    /// The addresses in the hints of a record's data.
    static func addressHints(in data: [UInt8]) -> [[UInt8]] {
        var reader = MessageReader(data)
        var hints: [[UInt8]] = []
        guard (try? reader.readInteger16()) != nil, (try? reader.readName()) != nil else { return [] }
        while !reader.isAtEnd {
            guard let key = try? reader.readInteger16(), let length = try? reader.readInteger16(),
                let value = try? reader.readOctets(Int(length))
            else { break }
            let octets: Int
            switch Key(rawValue: key) {
            case .ipv4Hint: octets = 4
            case .ipv6Hint: octets = 16
            default: continue
            }
            let all = Array(value)
            hints += stride(from: 0, through: all.count - octets, by: octets).map { Array(all[$0..<($0 + octets)]) }
        }
        return hints
    }

    private static func word(_ key: UInt16, _ value: [UInt8]) -> String? {
        let text: String?
        switch Key(rawValue: key) {
        case nil: return name(key) + (value.isEmpty ? "" : "=" + CharacterString.quoted(value))
        case .noDefaultALPN, .obliviousHTTP: return value.isEmpty ? name(key) : nil
        case .some where value.isEmpty: return nil
        case .mandatory: text = mandatoryText(value)
        case .alpn: text = protocolsText(value)
        case .port: text = value.count == 2 ? String(UInt16(value[0]) << 8 | UInt16(value[1])) : nil
        case .ipv4Hint: text = addressesText(value, octets: 4)
        case .ipv6Hint: text = addressesText(value, octets: 16)
        case .ech: text = String(decoding: Base64.encode(value), as: UTF8.self)
        case .dohPath: text = CharacterString.quoted(value)
        }
        return text.map { "\(name(key))=\($0)" }
    }

    private static func mandatoryText(_ value: [UInt8]) -> String? {
        let keys = keys(value)
        guard value.count.isMultiple(of: 2), zip(keys, keys.dropFirst()).allSatisfy(<), keys.first != 0 else {
            return nil
        }
        return keys.map(name).joined(separator: ",")
    }

    private static func protocolsText(_ value: [UInt8]) -> String? {
        var items: [[UInt8]] = []
        var rest = value[...]
        while let length = rest.popFirst() {
            guard length > 0, rest.count >= Int(length) else { return nil }
            items.append(rest.prefix(Int(length)).flatMap { $0 == 0x2C || $0 == 0x5C ? [0x5C, $0] : [$0] })
            rest = rest.dropFirst(Int(length))
        }
        return CharacterString.quoted(items.joined(separator: [0x2C]))
    }

    private static func addressesText(_ value: [UInt8], octets: Int) -> String? {
        guard value.count.isMultiple(of: octets) else { return nil }
        return stride(from: 0, to: value.count, by: octets)
            .map { AddressText.print(value[$0..<($0 + octets)]) }.joined(separator: ",")
    }

    private static func keys(_ value: [UInt8]) -> [UInt16] {
        stride(from: 0, to: value.count - 1, by: 2).map { UInt16(value[$0]) << 8 | UInt16(value[$0 + 1]) }
    }

    private static func name(_ key: UInt16) -> String {
        Int(key) < names.count ? names[Int(key)] : "key\(key)"
    }
}
