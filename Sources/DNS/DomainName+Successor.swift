extension DomainName {
    /// The name that comes next in the canonical order of all names that there could be at or below `origin` (RFC 4471
    /// §3.1.2); `origin` itself behind the last one.
    package func successor(within origin: DomainName) -> DomainName {
        if let child = try? lowercased.prepending(label: [0]) { return child }
        // The name is too long for another one below it: its next sibling follows, or its parent's.
        var name = lowercased
        while name.labelCount > origin.labelCount, let label = name.firstLabel, let parent = name.parent {
            if let longer = try? parent.prepending(label: label + [0]) { return longer }
            if let greater = Self.greater(label), let sibling = try? parent.prepending(label: greater) {
                return sibling
            }
            name = parent
        }
        return origin
    }

    /// The shortest label that follows all labels which begin with this one; nil where there is none.
    private static func greater(_ label: ArraySlice<UInt8>) -> [UInt8]? {
        var octets = Array(label)
        while let last = octets.popLast() {
            // Capitals count as small letters, so that `[` follows `@`.
            if last == 0x40 { return octets + [0x5B] }
            if last < 0xFF { return octets + [last + 1] }
        }
        return nil
    }
}
