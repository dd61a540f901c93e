import MIME

extension AuthenticationResults {
    /// The whole field, each result on a line of its own, with CRLF at its end. Nothing in it can end the field early
    /// or begin another, whatever the values are.
    package var field: [UInt8] { field(name: "Authentication-Results", instance: nil) }

    /// - Parameter instance: of an ARC set, put before all else (RFC 8617 §4.1.1).
    func field(name: StaticString, instance: Int?) -> [UInt8] {
        var text = name.withUTF8Buffer { Array($0) } + Array(": ".utf8)
        if let instance { text += Array("i=\(instance); ".utf8) }
        text += Self.written(authservID)
        if let version { text += Array(" \(max(1, version))".utf8) }
        if entries.isEmpty { text += Array("; none".utf8) }
        for entry in entries {
            text += Array(";\r\n\t".utf8) + Self.keyword(entry.method)
            if entry.version != 1 { text += Array("/\(max(1, entry.version))".utf8) }
            text += [UInt8(ascii: "=")] + Self.keyword(entry.result)
            if let comment = entry.comment { text += Array(" (".utf8) + Self.comment(comment) + [UInt8(ascii: ")")] }
            if let reason = entry.reason { text += Array("\r\n\t reason=".utf8) + Self.quoted(reason) }
            for property in entry.properties {
                text += Array("\r\n\t ".utf8) + Self.keyword(property.type) + [UInt8(ascii: ".")]
                text += Self.keyword(property.name) + [UInt8(ascii: "=")] + Self.written(property.value)
            }
        }
        return text + [ASCII.carriageReturn, ASCII.lineFeed]
    }

    /// The longest value that is written; of longer ones the start. Octets.
    private static let maximumValue = 600

    /// What can't be in a keyword is left out; an empty one becomes `x`.
    private static func keyword(_ word: [UInt8]) -> [UInt8] {
        let kept = word.prefix(64).filter { ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == UInt8(ascii: "-") }
        return kept.isEmpty ? [UInt8(ascii: "x")] : kept
    }

    /// As it is where it's a token or an address (RFC 8601 §2.2, pvalue), in quotes otherwise.
    private static func written(_ value: [UInt8]) -> [UInt8] {
        let isPlain = !value.isEmpty && value.count <= maximumValue && value.allSatisfy(isPlain)
        return isPlain ? value : quoted(value)
    }

    private static func isPlain(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: Array("!#$%&'*+-.^_`{|}~@".utf8).contains(octet) || octet >= 0x80
        }
    }

    /// Control characters are left out.
    private static func quoted(_ value: [UInt8]) -> [UInt8] {
        let text = value.filter { $0 >= 0x20 && $0 != 0x7F }.prefix(maximumValue).flatMap { octet in
            octet == ASCII.quote || octet == ASCII.backslash ? [ASCII.backslash, octet] : [octet]
        }
        return [ASCII.quote] + text + [ASCII.quote]
    }

    private static func comment(_ value: [UInt8]) -> [UInt8] {
        value.filter { $0 >= 0x20 && $0 != 0x7F }.prefix(maximumValue).flatMap { octet in
            switch octet {
            case UInt8(ascii: "("), UInt8(ascii: ")"), ASCII.backslash: [ASCII.backslash, octet]
            default: [octet]
            }
        }
    }

    /// The places of the fields in a header that claim to be of this host, or that can't be read: what comes from
    /// outside must not be taken for its own word (RFC 8601 §5). Received-SPF says by `receiver` whose it is (RFC 7208 §9.1).
    package static func forged(in header: HeaderBlock, authservID: [UInt8]) -> [Int] {
        header.fields.indices.filter { place in
            let field = header.fields[place]
            if ASCII.equal(header.octets[field.name], "received-spf") {
                let receivers = ReceivedSPF.receivers(in: header.octets[field.value])
                return receivers?.contains { ASCII.equal(withoutDot($0), withoutDot(authservID)) } ?? true
            }
            guard ASCII.equal(header.octets[field.name], "authentication-results") else { return false }
            // The name may be told where the rest can't be read.
            var lexer = ResultsLexer(header.octets[field.value])
            guard let claimed = lexer.value(), (try? AuthenticationResults(field: header.octets[field.value])) != nil
            else { return true }
            return ASCII.equal(withoutDot(claimed), withoutDot(authservID))
        }
    }

    /// The octets of a header without the fields at those places.
    package static func removing(_ places: [Int], from header: HeaderBlock) -> [UInt8] {
        var octets: [UInt8] = []
        octets.reserveCapacity(header.octets.count)
        var position = 0
        for place in places where header.fields.indices.contains(place) {
            let field = header.fields[place].whole
            guard field.lowerBound >= position else { continue }
            octets += header.octets[position..<field.lowerBound]
            position = field.upperBound
        }
        return octets + header.octets[position...]
    }

    private static func withoutDot(_ name: [UInt8]) -> ArraySlice<UInt8> {
        name.last == UInt8(ascii: ".") ? name.dropLast() : name[...]
    }
}
