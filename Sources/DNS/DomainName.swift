/// A domain name: at most 255 octets of labels of at most 63 octets each (RFC 1035 §2.3.4).
///
/// Names are kept with the case they came with, and compared, ordered and hashed without it (RFC 4343 §3). Labels may
/// hold any octet.
package struct DomainName: Sendable {
    /// The uncompressed wire form: each label behind its length, and the root's zero octet at the end.
    package let wire: [UInt8]

    /// The root.
    package static let root = DomainName(checked: [0])

    /// The most octets that a name may have on the wire (RFC 1035 §2.3.4).
    package static let maximumOctets = 255

    /// The most octets that a label may have (RFC 1035 §2.3.4).
    package static let maximumLabelOctets = 63

    init(checked wire: [UInt8]) {
        self.wire = wire
    }

    /// A name from its uncompressed wire form, which must end with the root and hold nothing behind it.
    ///
    /// - Throws: what is wrong with the form.
    package init(wire: [UInt8]) throws(NameError) {
        guard wire.count <= Self.maximumOctets else { throw .nameTooLong }
        var position = 0
        while position < wire.count {
            let length = Int(wire[position])
            guard length <= Self.maximumLabelOctets else { throw .labelTooLong }
            position += length + 1
            if length == 0 { break }
        }
        guard position == wire.count, wire.last == 0 else { throw .malformed }
        self.wire = wire
    }

    /// A name from its labels, leftmost first, without the root's.
    ///
    /// - Throws: when a label is empty or too long, or all of them together are.
    package init(labels: some Sequence<some Collection<UInt8>>) throws(NameError) {
        var wire: [UInt8] = []
        for label in labels {
            guard !label.isEmpty else { throw .emptyLabel }
            guard label.count <= Self.maximumLabelOctets else { throw .labelTooLong }
            wire.append(UInt8(label.count))
            wire.append(contentsOf: label)
        }
        wire.append(0)
        guard wire.count <= Self.maximumOctets else { throw .nameTooLong }
        self.wire = wire
    }
}

/// Why octets or text are not a domain name.
package enum NameError: Error, Equatable, Sendable {
    /// More than 255 octets.
    case nameTooLong
    /// A label of more than 63 octets.
    case labelTooLong
    /// Two dots in a row, or one at the start.
    case emptyLabel
    /// A backslash that neither three digits up to 255 nor another character follow.
    case badEscape
    /// Nothing at all, or no end.
    case malformed
}

extension DomainName {
    /// Whether this is the root.
    package var isRoot: Bool { wire.count == 1 }

    /// How many labels there are, without the root's.
    package var labelCount: Int {
        var count = 0
        var position = 0
        while position < wire.count, wire[position] != 0 {
            count += 1
            position += Int(wire[position]) + 1
        }
        return count
    }

    /// The labels, leftmost first, without the root's.
    package var labels: [ArraySlice<UInt8>] {
        var labels: [ArraySlice<UInt8>] = []
        var position = 0
        while position < wire.count, wire[position] != 0 {
            let end = position + 1 + Int(wire[position])
            labels.append(wire[(position + 1)..<end])
            position = end
        }
        return labels
    }

    /// The leftmost label, nil for the root.
    package var firstLabel: ArraySlice<UInt8>? {
        isRoot ? nil : wire[1..<(1 + Int(wire[0]))]
    }

    /// The name without its leftmost label, nil for the root.
    package var parent: DomainName? {
        isRoot ? nil : DomainName(checked: Array(wire[(1 + Int(wire[0]))...]))
    }

    /// Whether the leftmost label is a single asterisk (RFC 4592 §2.1.1).
    package var isWildcard: Bool {
        wire.count > 2 && wire[0] == 1 && wire[1] == 0x2A
    }

    /// The name with all its ASCII letters in lower case (the canonical form of RFC 4034 §6.2).
    package var lowercased: DomainName {
        DomainName(checked: wire.map(asciiLowercased))
    }

    /// The name's last `count` labels; the whole name where it has no more.
    package func suffix(labels count: Int) -> DomainName {
        var surplus = labelCount - max(0, count)
        guard surplus > 0 else { return self }
        var position = 0
        while surplus > 0 {
            position += Int(wire[position]) + 1
            surplus -= 1
        }
        return DomainName(checked: Array(wire[position...]))
    }

    /// Whether the name is `ancestor` or lies below it.
    package func isSubdomain(of ancestor: DomainName) -> Bool {
        let surplus = wire.count - ancestor.wire.count
        guard surplus >= 0 else { return false }
        var position = 0
        while position < surplus {
            position += Int(wire[position]) + 1
        }
        guard position == surplus else { return false }
        for index in ancestor.wire.indices
        where asciiLowercased(wire[surplus + index]) != asciiLowercased(ancestor.wire[index]) {
            return false
        }
        return true
    }

    /// `label` put before the name.
    ///
    /// - Throws: when the label or the whole gets too long.
    package func prepending(label: some Collection<UInt8>) throws(NameError) -> DomainName {
        guard !label.isEmpty else { throw .emptyLabel }
        guard label.count <= Self.maximumLabelOctets else { throw .labelTooLong }
        guard label.count + 1 + wire.count <= Self.maximumOctets else { throw .nameTooLong }
        return DomainName(checked: [UInt8(label.count)] + label + wire)
    }

    /// The labels of this relative name followed by those of `origin`.
    ///
    /// - Throws: when the whole gets too long.
    package func appending(_ origin: DomainName) throws(NameError) -> DomainName {
        guard wire.count - 1 + origin.wire.count <= Self.maximumOctets else { throw .nameTooLong }
        return DomainName(checked: wire.dropLast() + origin.wire)
    }

    /// The name with its suffix `ancestor` replaced by `target` (DNAME, RFC 6672 §2.2); nil where it isn't below `ancestor`.
    ///
    /// - Throws: when the new name gets too long (the answer is then YXDOMAIN).
    package func replacing(suffix ancestor: DomainName, with target: DomainName) throws(NameError) -> DomainName? {
        guard wire.count > ancestor.wire.count, isSubdomain(of: ancestor) else { return nil }
        let prefix = wire.count - ancestor.wire.count
        guard prefix + target.wire.count <= Self.maximumOctets else { throw .nameTooLong }
        return DomainName(checked: wire[..<prefix] + target.wire)
    }
}

extension DomainName: Hashable {
    package static func == (left: DomainName, right: DomainName) -> Bool {
        guard left.wire.count == right.wire.count else { return false }
        return left.wire.withUnsafeBytes { left in
            right.wire.withUnsafeBytes { right in foldedWords(left).elementsEqual(foldedWords(right)) }
        }
    }

    package func hash(into hasher: inout Hasher) {
        wire.withUnsafeBytes { octets in
            for word in foldedWords(octets) { hasher.combine(word) }
        }
    }
}

extension DomainName: Comparable {
    /// The canonical order of RFC 4034 §6.1: by labels from the right, as lower-case octets, the shorter first.
    package static func < (left: DomainName, right: DomainName) -> Bool {
        for (one, other) in zip(left.labels.reversed(), right.labels.reversed()) {
            let one = one.lazy.map(asciiLowercased)
            let other = other.lazy.map(asciiLowercased)
            if one.lexicographicallyPrecedes(other) { return true }
            if other.lexicographicallyPrecedes(one) { return false }
        }
        return left.labelCount < right.labelCount
    }
}
