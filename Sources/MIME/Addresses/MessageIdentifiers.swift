/// Message-ids (RFC 5322 §3.6.4).
package enum MessageIdentifiers {
    /// Those of a field such as References, with their brackets and without white space, at most so many; comments and what
    /// is no such thing are left out.
    package static func list(_ field: [UInt8], maximum: Int = 1000) -> [[UInt8]] {
        var found: [[UInt8]] = []
        var identifier: [UInt8]?
        var depth = 0
        var isQuoted = false
        var isEscaped = false
        for octet in field {
            if isEscaped {
                isEscaped = false
                if depth == 0 { identifier?.append(octet) }
            } else if depth > 0 {
                if octet == ASCII.backslash { isEscaped = true }
                if octet == UInt8(ascii: "(") { depth += 1 } else if octet == UInt8(ascii: ")") { depth -= 1 }
            } else if isQuoted {
                isQuoted = octet != ASCII.quote
                isEscaped = octet == ASCII.backslash
                identifier?.append(octet)
            } else if octet == UInt8(ascii: "(") {
                depth = 1
            } else if octet == UInt8(ascii: "<") {
                identifier = [octet]
            } else if !ASCII.isWhitespace(octet), identifier != nil {
                isQuoted = octet == ASCII.quote
                identifier?.append(octet)
                guard octet == UInt8(ascii: ">"), let whole = identifier else { continue }
                if whole.count > 2 { found.append(whole) }
                identifier = nil
                if found.count == maximum { break }
            }
        }
        return found
    }

    /// Whether the value is one identifier with brackets and something on both sides of its `@`, comments aside.
    package static func isOne(_ field: [UInt8]) -> Bool {
        let found = list(field, maximum: 2)
        guard found.count == 1, let at = found[0].lastIndex(of: UInt8(ascii: "@")) else { return false }
        guard at > 1, at < found[0].count - 2, found[0].allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else { return false }
        var depth = 0
        var isInside = false
        for octet in field {
            switch octet {
            case UInt8(ascii: "<") where depth == 0: isInside = true
            case UInt8(ascii: ">") where depth == 0: isInside = false
            case UInt8(ascii: "(") where !isInside: depth += 1
            case UInt8(ascii: ")") where !isInside: depth -= 1
            case _ where !isInside && depth == 0 && !ASCII.isWhitespace(octet): return false
            default: continue
            }
        }
        return true
    }
}
