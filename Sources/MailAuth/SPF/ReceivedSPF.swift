import DNS
import MIME

/// Writes the header field that records a check (RFC 7208 §9.1).
package enum ReceivedSPF {
    /// The whole field, folded, with its name and the CRLF at its end.
    package static func field(_ outcome: SPFOutcome, of query: SPFQuery) -> [UInt8] {
        var pairs: [(StaticString, [UInt8])] = [
            ("receiver", query.receiver),
            ("client-ip", Array(AddressText.print(query.address).utf8)),
            ("envelope-from", query.identity == .mailFrom ? query.sender : []),
            ("helo", query.helo),
            ("identity", Array(query.identity.rawValue.utf8)),
        ]
        if let mechanism = outcome.mechanism { pairs.append(("mechanism", mechanism)) }
        if outcome.result == .permerror || outcome.result == .temperror {
            pairs.append(("problem", Array(outcome.reason.utf8)))
        }
        var field: [UInt8] = []
        field.reserveCapacity(512)
        field += "Received-SPF: \(outcome.result.rawValue)\r\n (".utf8
        field += query.receiver.lazy.filter(isCommentText)
        field += ": ".utf8
        field += outcome.reason.utf8.lazy.filter(isCommentText)
        field += ")".utf8
        var isFirst = true
        for (name, value) in pairs where !value.isEmpty {
            field += isFirst ? "\r\n ".utf8 : ";\r\n ".utf8
            isFirst = false
            name.withUTF8Buffer { field += $0 }
            field.append(UInt8(ascii: "="))
            write(value, to: &field)
        }
        field += "\r\n".utf8
        return field
    }

    /// What a field names as its receiver, in whatever place: some readers look for no more.
    ///
    /// - Returns: nil where it can't be read to its end.
    static func receivers(in value: ArraySlice<UInt8>) -> [[UInt8]]? {
        var lexer = ResultsLexer(value)
        var receivers: [[UInt8]] = []
        _ = lexer.keyword()
        while !lexer.isAtEnd() {
            if let key = lexer.keyword() {
                if lexer.take(UInt8(ascii: "=")), let value = lexer.value(), ASCII.equal(key, "receiver") {
                    receivers.append(value)
                }
            } else if !lexer.take(UInt8(ascii: ";")), lexer.value() == nil {
                // A quoted string that doesn't end, or what can't stand in a field.
                return nil
            }
        }
        return receivers
    }

    /// Printable, and nothing that ends or escapes a comment.
    private static func isCommentText(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "\\"): false
        default: (0x20...0x7E).contains(octet)
        }
    }

    /// A dot-atom where it can be one, a quoted string otherwise. Control characters are left out.
    private static func write(_ value: [UInt8], to field: inout [UInt8]) {
        let text = value.filter { $0 >= 0x20 && $0 != 0x7F }.prefix(512)
        let isAtom =
            !text.isEmpty && text.first != 0x2E && text.last != 0x2E
            && text.allSatisfy { $0 == 0x2E || $0 < 0x80 && ListedAddress.isAtomCharacter($0) }
            && !zip(text, text.dropFirst()).contains { $0 == 0x2E && $1 == 0x2E }
        if isAtom {
            field += text
            return
        }
        field.append(ASCII.quote)
        for octet in text {
            if octet == ASCII.quote || octet == ASCII.backslash { field.append(ASCII.backslash) }
            field.append(octet)
        }
        field.append(ASCII.quote)
    }
}
