import Encodings

/// A word of a master file, its escapes still in it.
package struct MasterFileToken: Hashable, Sendable {
    /// The octets as written, without quotes around them.
    package var octets: [UInt8]
    /// Whether it was in quotes, and so is neither a name nor a keyword.
    package var isQuoted: Bool
    /// Whether nothing stands between it and the word before (`alpn="h2"` are two).
    package var isAttached: Bool

    package init(_ octets: [UInt8], isQuoted: Bool = false, isAttached: Bool = false) {
        self.octets = octets
        self.isQuoted = isQuoted
        self.isAttached = isAttached
    }
}

/// Why words are not the data of a record; the reason is for people.
package struct RecordTextError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong.
    package let description: String

    init(_ description: String) { self.description = description }
}

extension ResourceRecord {
    /// The wire form of a record's data from its presentation form; names without a dot at the end are relative to
    /// `origin`.
    ///
    /// - Throws: what is wrong, for people.
    package static func parseData(
        _ tokens: [MasterFileToken],
        of type: RecordType,
        origin: DomainName
    ) throws(RecordTextError) -> [UInt8] {
        if let first = tokens.first, !first.isQuoted, first.octets == Array("\\#".utf8) {
            return try parseGeneric(tokens.dropFirst(), type: type)
        }
        guard let fields = RecordField.fields(of: type) else {
            throw RecordTextError("data of type \(type) must be written as \\# LENGTH HEX")
        }
        var parser = FieldParser(tokens: tokens[...], origin: origin)
        for field in fields { try parser.parse(field) }
        guard parser.tokens.isEmpty else { throw RecordTextError("too much data for type \(type)") }
        guard parser.data.count <= 0xFFFF else { throw RecordTextError("more than 65535 octets of data") }
        return parser.data
    }

    /// RFC 3597 §5.
    private static func parseGeneric(
        _ tokens: ArraySlice<MasterFileToken>,
        type: RecordType
    ) throws(RecordTextError) -> [UInt8] {
        guard let first = tokens.first, let count = decimal(first.octets), count <= 0xFFFF else {
            throw RecordTextError("a length up to 65535 must follow \\#")
        }
        guard let data = RadixCoding.hexadecimal.decode(tokens.dropFirst().flatMap(\.octets)), data.count == count
        else { throw RecordTextError("\(count) octets in hexadecimal must follow") }
        guard let record = try? ResourceRecord(name: .root, type: type, timeToLive: 0, wireData: data) else {
            throw RecordTextError("the octets are no data of type \(type)")
        }
        return record.data
    }
}

/// Reads words as fields and collects their wire form.
private struct FieldParser {
    var tokens: ArraySlice<MasterFileToken>
    let origin: DomainName
    var data: [UInt8] = []

    mutating func next(_ what: String) throws(RecordTextError) -> MasterFileToken {
        guard let token = tokens.popFirst() else { throw RecordTextError("missing: \(what)") }
        return token
    }

    mutating func rest() -> [UInt8] {
        defer { tokens = [] }
        return tokens.flatMap(\.octets)
    }

    mutating func parse(_ field: RecordField) throws(RecordTextError) {
        switch field {
        case .integer8, .integer16, .integer32, .period, .time, .type: try parseNumber(field)
        case .address4: try append(AddressText.parse4(next("an IPv4 address").octets), "no IPv4 address")
        case .address6: try append(AddressText.parse6(next("an IPv6 address").octets), "no IPv6 address")
        case .compressibleName, .name: try parseName()
        case .text: try appendCounted(CharacterString.unescape(next("a text").octets))
        case .tag: try parseTag()
        case .texts:
            repeat { try appendCounted(CharacterString.unescape(next("a text").octets)) } while !tokens.isEmpty
        case .longText: data += try CharacterString.unescape(next("a text").octets)
        case .hexadecimal: try append(RadixCoding.hexadecimal.decode(rest()), "no hexadecimal")
        case .base64: try append(Base64.decode(rest()), "no base64")
        case .salt:
            let octets = try next("a salt").octets
            try appendCounted(octets == [0x2D] ? [] : decoded(RadixCoding.hexadecimal, octets, "no hexadecimal"))
        case .hash: try appendCounted(decoded(RadixCoding.base32hex, next("a hash").octets, "no base32hex"))
        case .typeBitmap: try parseTypes()
        case .location:
            data += try GeographicLocation.parse(tokens)
            tokens = []
        case .serviceParameters:
            data += try ServiceParameters.parse(tokens, isAlias: data.prefix(2).allSatisfy { $0 == 0 })
            tokens = []
        }
    }

    private mutating func parseNumber(_ field: RecordField) throws(RecordTextError) {
        let token = try next("a number").octets
        let (value, octets): (UInt32?, Int) =
            switch field {
            case .integer8: (decimal(token), 1)
            case .integer16: (decimal(token), 2)
            case .type: ((RecordType(mnemonic: token)?.rawValue).map(UInt32.init), 2)
            case .time: (Moment.parse(token), 4)
            case .period: (Period.parse(token), 4)
            default: (decimal(token), 4)
            }
        guard let value, UInt64(value) < 1 << UInt64(octets * 8) else {
            throw RecordTextError("not a valid number: \(String(decoding: token, as: UTF8.self))")
        }
        for shift in (0..<octets).reversed() { data.append(UInt8(truncatingIfNeeded: value >> UInt32(shift * 8))) }
    }

    private mutating func parseName() throws(RecordTextError) {
        let token = try next("a name").octets
        do {
            data += try DomainName(presentation: token, origin: origin).wire
        } catch {
            throw RecordTextError("no domain name (\(error)): \(String(decoding: token, as: UTF8.self))")
        }
    }

    private mutating func parseTag() throws(RecordTextError) {
        let tag = try next("a tag").octets
        guard RecordField.isTag(tag) else { throw RecordTextError("a tag has letters and digits only") }
        try appendCounted(tag)
    }

    private mutating func parseTypes() throws(RecordTextError) {
        var types: [RecordType] = []
        for token in tokens {
            guard let type = RecordType(mnemonic: token.octets) else {
                throw RecordTextError("no type: \(String(decoding: token.octets, as: UTF8.self))")
            }
            types.append(type)
        }
        tokens = []
        data += TypeBitmap.encode(types)
    }

    private mutating func append(_ octets: [UInt8]?, _ reason: String) throws(RecordTextError) {
        guard let octets else { throw RecordTextError(reason) }
        data += octets
    }

    private mutating func appendCounted(_ octets: [UInt8]) throws(RecordTextError) {
        guard octets.count <= 255 else { throw RecordTextError("a text of more than 255 octets") }
        data.append(UInt8(octets.count))
        data += octets
    }

    private func decoded(_ coding: RadixCoding, _ text: [UInt8], _ reason: String) throws(RecordTextError) -> [UInt8] {
        guard let octets = coding.decode(text) else { throw RecordTextError(reason) }
        return octets
    }
}
