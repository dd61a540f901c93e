/// Looks whether an address field is exactly what RFC 5322 §3.4 allows, with the obsolete forms of §4.4, the length limits of
/// SMTP aside. `AddressListParser` makes something of any field; this says whether that was needed.
package struct AddressSyntax {
    private var rest: ArraySlice<UInt8>

    private init(_ field: [UInt8]) { rest = field[...] }

    /// Whether the unfolded field is a list of at least one address or group.
    package static func isList(_ field: [UInt8]) -> Bool {
        var syntax = AddressSyntax(field)
        return syntax.list()
    }

    /// Lists may have empty entries (§4.4).
    private mutating func list() -> Bool {
        var count = 0
        while skipBlanks(), !rest.isEmpty {
            if take(UInt8(ascii: ",")) { continue }
            guard address(allowsGroups: true), skipBlanks() else { return false }
            count += 1
            guard rest.isEmpty || take(UInt8(ascii: ",")) else { return false }
        }
        return count > 0 && rest.isEmpty
    }

    private enum PhraseEnd { case angle, group, at }

    /// A mailbox or, where that is allowed, a group.
    private mutating func address(allowsGroups: Bool) -> Bool {
        let start = rest
        guard let end = phraseEnd() else { return false }
        switch end {
        case .angle: return angle()
        case .group: return allowsGroups && group()
        case .at:
            rest = start
            return specification()
        }
    }

    /// Goes over words and dots to what says what they are; nil where they're nothing.
    private mutating func phraseEnd() -> PhraseEnd? {
        var hasWord = false
        while skipBlanks(), let first = rest.first {
            switch first {
            case UInt8(ascii: "<"): return .angle
            case UInt8(ascii: ":"): return hasWord ? .group : nil
            case UInt8(ascii: "@"): return .at
            case UInt8(ascii: "."): rest.removeFirst()
            default:
                guard word(isInPhrase: true) else { return nil }
                hasWord = true
            }
        }
        return nil
    }

    private mutating func group() -> Bool {
        rest.removeFirst()
        while skipBlanks() {
            if take(UInt8(ascii: ";")) { return true }
            if take(UInt8(ascii: ",")) { continue }
            guard address(allowsGroups: false), skipBlanks() else { return false }
            guard rest.first == UInt8(ascii: ";") || take(UInt8(ascii: ",")) else { return false }
        }
        return false
    }

    /// `<…>`, perhaps with a route.
    private mutating func angle() -> Bool {
        rest.removeFirst()
        guard skipBlanks() else { return false }
        if rest.first == UInt8(ascii: "@") || rest.first == UInt8(ascii: ",") {
            guard route() else { return false }
        }
        return specification() && skipBlanks() && take(UInt8(ascii: ">"))
    }

    private mutating func route() -> Bool {
        while skipBlanks() {
            if take(UInt8(ascii: ":")) { return true }
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "@")), domain() else { return false }
        }
        return false
    }

    private mutating func specification() -> Bool {
        repeat {
            guard skipBlanks(), word(isInPhrase: false), skipBlanks() else { return false }
        } while take(UInt8(ascii: "."))
        return take(UInt8(ascii: "@")) && domain()
    }

    private mutating func domain() -> Bool {
        guard skipBlanks() else { return false }
        if rest.first == UInt8(ascii: "[") { return literal() }
        repeat {
            guard skipBlanks() else { return false }
            let label = rest.prefix(while: ListedAddress.isAtomCharacter)
            // Labels of host names neither begin nor end with a hyphen (RFC 5321 §4.1.2).
            guard let first = label.first, let last = label.last, first != UInt8(ascii: "-"), last != UInt8(ascii: "-")
            else { return false }
            rest = rest[label.endIndex...]
            guard skipBlanks() else { return false }
        } while take(UInt8(ascii: "."))
        return true
    }

    private mutating func literal() -> Bool {
        rest.removeFirst()
        while let octet = rest.popFirst() {
            switch octet {
            case UInt8(ascii: "]"): return true
            case UInt8(ascii: "["), ASCII.nul: return false
            case ASCII.backslash: guard rest.popFirst() != nil else { return false }
            default: continue
            }
        }
        return false
    }

    // MARK: Words

    private mutating func take(_ octet: UInt8) -> Bool {
        guard rest.first == octet else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func word(isInPhrase: Bool) -> Bool {
        if rest.first == ASCII.quote { return quoted(isInPhrase: isInPhrase) }
        if isInPhrase, let length = EncodedWords.length(rest) {
            rest = rest.dropFirst(length)
            return true
        }
        let atom = rest.prefix(while: ListedAddress.isAtomCharacter)
        rest = rest[atom.endIndex...]
        return !atom.isEmpty
    }

    private mutating func quoted(isInPhrase: Bool) -> Bool {
        rest.removeFirst()
        while let octet = rest.popFirst() {
            switch octet {
            case ASCII.quote: return true
            case ASCII.nul: return false
            case ASCII.backslash:
                guard let escaped = rest.popFirst() else { return false }
                // A backslash before UTF-8 is possible in names (RFC 6532 §3.2) but not in addresses (RFC 6531 §3.3).
                if escaped >= 0x80, !isInPhrase { return false }
            default: continue
            }
        }
        return false
    }

    /// White space and comments; false where a comment has no end.
    private mutating func skipBlanks() -> Bool {
        while let first = rest.first {
            if ASCII.isWhitespace(first) {
                rest.removeFirst()
            } else if first == UInt8(ascii: "(") {
                guard comment() else { return false }
            } else {
                return true
            }
        }
        return true
    }

    private mutating func comment() -> Bool {
        var depth = 0
        while let octet = rest.popFirst() {
            switch octet {
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"):
                depth -= 1
                if depth == 0 { return true }
            case ASCII.nul: return false
            case ASCII.backslash: guard rest.popFirst() != nil else { return false }
            default: continue
            }
        }
        return false
    }
}
