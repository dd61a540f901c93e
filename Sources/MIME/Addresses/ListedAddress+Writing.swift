extension ListedAddress {
    /// The name as text, encoded words decoded.
    package var displayName: String? { name.map { EncodedWords.text($0) } }

    /// For people: `name <local@domain>`, or what there is of that.
    package var shown: String {
        let host = host ?? []
        let octets = (mailbox ?? []) + (host.isEmpty ? [] : [UInt8(ascii: "@")] + host)
        let address = String(decoding: Charset.guess(octets), as: UTF8.self)
        guard let displayName else { return address }
        return address.isEmpty ? displayName : "\(displayName) <\(address)>"
    }

    /// Whether only a transport for UTF-8 addresses can carry it (RFC 6531): a domain can be written in ASCII, a local part
    /// and a literal can't.
    package var needsUTF8: Bool {
        mailbox?.contains { $0 >= 0x80 } == true
            || host?.first == UInt8(ascii: "[") && host?.contains { $0 >= 0x80 } == true
    }

    /// `local@domain` as it stands in a field: the local part quoted where it must be, the domain in ASCII where the local
    /// part is. nil where something can't be written.
    var specification: [UInt8]? {
        guard let mailbox, let host, !host.isEmpty else { return nil }
        guard (mailbox + host).allSatisfy({ $0 >= 0x20 && $0 != 0x7F }),
            String(validating: mailbox, as: UTF8.self) != nil,
            String(validating: host, as: UTF8.self) != nil
        else { return nil }
        let isLiteral = host.first == UInt8(ascii: "[") && host.last == UInt8(ascii: "]")
        var domain = host
        if !isLiteral {
            if host.contains(where: { $0 >= 0x80 }), !needsUTF8 {
                guard let ascii = InternationalDomain.ascii(host) else { return nil }
                domain = ascii
            }
            guard Self.isDotAtom(domain) else { return nil }
        } else if host.dropFirst().dropLast().contains(where: { "[]\\<>,;".utf8.contains($0) }) {
            return nil
        }
        // What looks like an encoded word would be read as one, perhaps to beyond the `@`.
        let isPlain = Self.isDotAtom(mailbox) && !mailbox.starts(with: "=?".utf8)
        return (isPlain ? mailbox : Self.quoted(mailbox)) + [UInt8(ascii: "@")] + domain
    }

    /// The name as words of a phrase (RFC 5322 §3.2.5): atoms, a quoted string, or encoded words.
    static func phrase(_ text: String) -> [[UInt8]] {
        let octets = Array(text.utf8)
        if octets.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }), !text.contains("=?"), octets.count <= 900 {
            let words = octets.split(separator: ASCII.space, omittingEmptySubsequences: false)
            if words.allSatisfy({ !$0.isEmpty && $0.allSatisfy(isAtomCharacter) }) { return words.map { Array($0) } }
            return [quoted(octets)]
        }
        return EncodedWords.encode(text)
    }

    static func quoted(_ text: [UInt8]) -> [UInt8] {
        var quoted = [ASCII.quote]
        for octet in text {
            if octet == ASCII.quote || octet == ASCII.backslash { quoted.append(ASCII.backslash) }
            quoted.append(octet)
        }
        return quoted + [ASCII.quote]
    }

    private static func isDotAtom(_ text: [UInt8]) -> Bool {
        text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy {
            !$0.isEmpty && $0.allSatisfy(isAtomCharacter)
        }
    }

    /// Whether an octet may stand in an atom (RFC 5322 §3.2.3, RFC 6532 §3.2).
    package static func isAtomCharacter(_ octet: UInt8) -> Bool {
        ASCII.isLetter(octet) || ASCII.isDigit(octet) || octet >= 0x80 || "!#$%&'*+-/=?^_`{|}~".utf8.contains(octet)
    }
}
