import MIME

/// The TXT record that says that a domain has an MTA-STS policy, and which (RFC 8461 §3.1).
package struct MTASTSRecord: Sendable, Hashable {
    /// 1 to 32 letters and digits; another one says that the policy has changed.
    package let id: [UInt8]

    /// nil where the identifier is none.
    package init?(id: [UInt8]) {
        guard (1...32).contains(id.count), id.allSatisfy({ ASCII.isDigit($0) || ASCII.isLetter($0) }) else {
            return nil
        }
        self.id = id
    }

    /// Reads the record of `_mta-sts.DOMAIN`: exactly one of the texts may be one (RFC 8461 §3.1).
    package init?(texts: [[UInt8]]) {
        let records = texts.filter { Self.begins($0) }
        guard let text = records.first, records.count == 1 else { return nil }
        var found: [UInt8]?
        for field in text.split(separator: UInt8(ascii: ";")).dropFirst().prefix(50) {
            guard let equals = field.firstIndex(of: UInt8(ascii: "=")), found == nil,
                ASCII.trim(field[..<equals]).elementsEqual(Array("id".utf8))
            else { continue }
            found = Array(ASCII.trim(field[(equals + 1)...]))
        }
        guard let found else { return nil }
        self.init(id: found)
    }

    private static func begins(_ text: [UInt8]) -> Bool {
        let version = Array("v=STSv1".utf8)
        guard text.starts(with: version) else { return false }
        return ASCII.trim(text[version.count...]).first == UInt8(ascii: ";")
    }

    /// The record's text.
    package var text: [UInt8] { Array("v=STSv1; id=".utf8) + id + [UInt8(ascii: ";")] }
}
