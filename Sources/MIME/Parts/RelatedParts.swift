/// The parts of a multipart/related (RFC 2387) and how they name each other (RFC 2392, RFC 2557).
extension MessagePart {
    /// The part that the others belong to: the one that `start` names, or the first; nil in all but multipart/related.
    package var relatedRoot: MessagePart? {
        guard isMultipart, ASCII.equal(content.type.value, "multipart/related") else { return nil }
        if let start = content.type["start"], let found = children.first(where: { $0.isNamed(by: start) }) {
            return found
        }
        return children.first
    }

    /// The part in this one that a reference means: `cid:` and a Content-ID, or a URI that is a Content-Location after
    /// both were made absolute (RFC 2557 §5). Looks into multiparts, not into messages, whose names are their own.
    package func part(referredBy reference: [UInt8], base: [UInt8]? = nil) -> MessagePart? {
        let text = reference.filter { !ASCII.isWhitespace($0) }
        if text.count > 4, ASCII.equal(text.prefix(4), "cid:") {
            let identifier = ASCII.unescaped(text[4...], sign: UInt8(ascii: "%"))
            return first { $0.isNamed(by: identifier) }
        }
        let base = base ?? location
        let wanted = URIReference.resolve(text, against: base)
        return find(wanted, base: base)
    }

    /// Content-Location without the white space of its folds (RFC 2557 §4.4).
    private var location: [UInt8]? { content.location.map { $0.filter { !ASCII.isWhitespace($0) } } }

    private func find(_ wanted: [UInt8], base: [UInt8]?) -> MessagePart? {
        for child in children where isMultipart {
            let own = child.location.map { URIReference.resolve($0, against: base) }
            if own == wanted { return child }
            if let found = child.find(wanted, base: own ?? base) { return found }
        }
        return nil
    }

    private func first(where matches: (MessagePart) -> Bool) -> MessagePart? {
        for child in children where isMultipart {
            if matches(child) { return child }
            if let found = child.first(where: matches) { return found }
        }
        return nil
    }

    /// Whether its Content-ID is that, with or without brackets.
    private func isNamed(by identifier: [UInt8]) -> Bool {
        guard let own = content.identifier else { return false }
        let one = Self.withoutBrackets(own)
        return !one.isEmpty && one == Self.withoutBrackets(identifier)
    }

    private static func withoutBrackets(_ identifier: [UInt8]) -> ArraySlice<UInt8> {
        var text = ASCII.trim(identifier[...])
        if text.first == UInt8(ascii: "<") { text.removeFirst() }
        if text.last == UInt8(ascii: ">") { text.removeLast() }
        return text
    }
}

/// References to documents (RFC 3986), as far as parts of messages name each other with them.
enum URIReference {
    /// The reference made absolute (RFC 3986 §5.2); as it is where it has a scheme or there is no base.
    static func resolve(_ reference: [UInt8], against base: [UInt8]?) -> [UInt8] {
        guard let base, schemeEnd(reference) == nil, let colon = schemeEnd(base) else { return reference }
        let slash = UInt8(ascii: "/")
        let scheme = base[...colon]
        let rest = base[(colon + 1)...]
        let hasAuthority = rest.starts(with: [slash, slash])
        let authority =
            hasAuthority ? rest.prefix(2) + rest.dropFirst(2).prefix { $0 != slash && $0 != UInt8(ascii: "?") } : []
        let path = rest.dropFirst(authority.count).prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
        if reference.starts(with: [slash, slash]) { return Array(scheme) + reference }
        if reference.isEmpty { return base }
        if reference.first == slash { return Array(scheme + authority) + withoutDots(reference) }
        if reference.first == UInt8(ascii: "?") || reference.first == UInt8(ascii: "#") {
            return Array(scheme + authority + path) + reference
        }
        let folder = path.lastIndex(of: slash).map { Array(path[...$0]) } ?? (hasAuthority ? [slash] : [])
        return Array(scheme + authority) + withoutDots(folder + reference)
    }

    /// Where the colon behind the scheme is.
    private static func schemeEnd(_ text: [UInt8]) -> Int? {
        let scheme = text.prefix { ASCII.isLetter($0) || ASCII.isDigit($0) || "+-.".utf8.contains($0) }
        guard let first = scheme.first, ASCII.isLetter(first), scheme.endIndex < text.endIndex,
            text[scheme.endIndex] == UInt8(ascii: ":")
        else { return nil }
        return scheme.endIndex
    }

    /// The path without `.` and `..` (RFC 3986 §5.2.4); what is behind it stays.
    private static func withoutDots(_ text: [UInt8]) -> [UInt8] {
        let path = text.prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
        let dot = UInt8(ascii: ".")
        var kept: [ArraySlice<UInt8>] = []
        let segments = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            if segment.elementsEqual([dot]) {
                if isLast { kept.append([]) }
            } else if segment.elementsEqual([dot, dot]) {
                if kept.count > 1 { kept.removeLast() }
                if isLast { kept.append([]) }
            } else {
                kept.append(segment)
            }
        }
        return Array(kept.joined(separator: [UInt8(ascii: "/")])) + text[path.endIndex...]
    }
}
