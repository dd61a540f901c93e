import MIME

extension AuthenticationResults {
    /// The whole field, each result on a line of its own, with CRLF at its end. Nothing in it can end the field early
    /// or begin another, whatever the values are.
    package var field: [UInt8] { field(name: "Authentication-Results", instance: nil) }

    /// - Parameter instance: of an ARC set, put before all else (RFC 8617 §4.1.1).
    func field(name: StaticString, instance: Int?) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(1024)
        name.withUTF8Buffer { text += $0 }
        text += ": ".utf8
        if let instance { text += "i=\(instance); ".utf8 }
        Self.write(authservID, to: &text)
        if let version { text += " \(max(1, version))".utf8 }
        if entries.isEmpty { text += "; none".utf8 }
        for entry in entries { Self.write(entry, to: &text) }
        text += "\r\n".utf8
        return text
    }

    private static func write(_ entry: Entry, to text: inout [UInt8]) {
        text += ";\r\n\t".utf8
        writeKeyword(entry.method, to: &text)
        if entry.version != 1 { text += "/\(max(1, entry.version))".utf8 }
        text.append(UInt8(ascii: "="))
        writeKeyword(entry.result, to: &text)
        if let comment = entry.comment {
            text += " (".utf8
            writePrintable(comment, to: &text) { $0 == UInt8(ascii: "(") || $0 == UInt8(ascii: ")") }
            text.append(UInt8(ascii: ")"))
        }
        if let reason = entry.reason {
            text += "\r\n\t reason=".utf8
            writeQuoted(reason, to: &text)
        }
        for property in entry.properties {
            text += "\r\n\t ".utf8
            writeKeyword(property.type, to: &text)
            text.append(UInt8(ascii: "."))
            writeKeyword(property.name, to: &text)
            text.append(UInt8(ascii: "="))
            write(property.value, to: &text)
        }
    }

    /// The longest value that is written; of longer ones the start. Octets.
    private static let maximumValue = 600

    /// What can't be in a keyword is left out; an empty one becomes `x`.
    private static func writeKeyword(_ word: [UInt8], to text: inout [UInt8]) {
        let start = text.count
        for octet in word.prefix(64)
        where ASCII.isLetter(octet) || ASCII.isDigit(octet) || octet == UInt8(ascii: "-") { text.append(octet) }
        if text.count == start { text.append(UInt8(ascii: "x")) }
    }

    /// As it is where it's a token or an address (RFC 8601 §2.2, pvalue), in quotes otherwise.
    private static func write(_ value: [UInt8], to text: inout [UInt8]) {
        guard !value.isEmpty, value.count <= maximumValue, value.allSatisfy(isPlain) else {
            return writeQuoted(value, to: &text)
        }
        text += value
    }

    private static func isPlain(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "\""), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: ","), UInt8(ascii: "/"): false
        case UInt8(ascii: ":")...UInt8(ascii: "?"), UInt8(ascii: "[")...UInt8(ascii: "]"): false
        default: octet > 0x20 && octet != 0x7F
        }
    }

    private static func writeQuoted(_ value: [UInt8], to text: inout [UInt8]) {
        text.append(ASCII.quote)
        writePrintable(value, to: &text) { $0 == ASCII.quote }
        text.append(ASCII.quote)
    }

    /// Control characters are left out; a backslash comes before what needs one, and before a backslash.
    private static func writePrintable(
        _ value: [UInt8],
        to text: inout [UInt8],
        escaping isEscaped: (UInt8) -> Bool
    ) {
        for octet in value.lazy.filter({ $0 >= 0x20 && $0 != 0x7F }).prefix(maximumValue) {
            if octet == ASCII.backslash || isEscaped(octet) { text.append(ASCII.backslash) }
            text.append(octet)
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
