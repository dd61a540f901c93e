/// A domain name: at most 255 octets of labels of at most 63 octets each (RFC 1035 §2.3.4).
///
/// Names are kept with the case they came with, and compared, ordered and hashed without it (RFC 4343 §3). Labels may
/// hold any octet.
package struct DomainName: Sendable {
    // A name and those above it share their octets: walks up the tree are frequent, and take no memory.
    private let octets: [UInt8]
    private let start: UInt8

    /// The uncompressed wire form: each label behind its length, and the root's zero octet at the end.
    package var wire: [UInt8] { start == 0 ? octets : Array(octets[Int(start)...]) }

    /// The root.
    package static let root = DomainName(checked: [0])

    /// The most octets that a name may have on the wire (RFC 1035 §2.3.4).
    package static let maximumOctets = 255

    /// The most octets that a label may have (RFC 1035 §2.3.4).
    package static let maximumLabelOctets = 63

    init(checked wire: [UInt8]) {
        octets = wire
        start = 0
    }

    /// The end of another name.
    ///
    /// - Parameter offset: the octets left out, all of them whole labels.
    private init(_ whole: DomainName, from offset: Int) {
        octets = whole.octets
        start = UInt8(truncatingIfNeeded: Int(whole.start) + offset)
    }

    /// How many octets the wire form has.
    package var wireCount: Int { octets.count - Int(start) }

    /// The same with octets of its own, for what stays long.
    package var compacted: DomainName { start == 0 ? self : DomainName(checked: wire) }

    /// Gives the wire form to `body`, without making an array of it.
    @inline(__always)
    package func withWire<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        octets.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[Int(start)...])) }
    }

    /// The octet at a place in the wire form.
    @inline(__always)
    private func octet(_ position: Int) -> UInt8 { octets[Int(start) + position] }

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
        self.init(checked: wire)
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
        self.init(checked: wire)
    }
}

extension DomainName {
    /// A name from its labels with a dot between each two, none at the end; all other octets stand for themselves.
    ///
    /// - Throws: when a label is empty or too long, or all of them together are.
    package init(dotted text: ArraySlice<UInt8>) throws(NameError) {
        var wire: [UInt8] = [0]
        wire.reserveCapacity(text.count + 2)
        // Where the length of the present label is.
        var start = 0
        for octet in text {
            guard octet == UInt8(ascii: ".") else {
                guard wire[start] < Self.maximumLabelOctets else { throw .labelTooLong }
                wire[start] += 1
                wire.append(octet)
                continue
            }
            guard wire[start] > 0 else { throw .emptyLabel }
            start = wire.count
            wire.append(0)
        }
        guard wire[start] > 0 else { throw .emptyLabel }
        wire.append(0)
        guard wire.count <= Self.maximumOctets else { throw .nameTooLong }
        self.init(checked: wire)
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
    package var isRoot: Bool { wireCount == 1 }

    /// How many labels there are, without the root's.
    package var labelCount: Int {
        withWire { wire in
            var count = 0
            var position = 0
            while position < wire.count, wire[position] != 0 {
                count += 1
                position += Int(wire[position]) + 1
            }
            return count
        }
    }

    /// The labels, leftmost first, without the root's.
    package var labels: [ArraySlice<UInt8>] {
        var labels: [ArraySlice<UInt8>] = []
        var position = Int(start)
        while position < octets.count, octets[position] != 0 {
            let end = position + 1 + Int(octets[position])
            labels.append(octets[(position + 1)..<end])
            position = end
        }
        return labels
    }

    /// The leftmost label, nil for the root.
    package var firstLabel: ArraySlice<UInt8>? {
        isRoot ? nil : octets[(Int(start) + 1)..<(Int(start) + 1 + Int(octet(0)))]
    }

    /// The name without its leftmost label, nil for the root.
    package var parent: DomainName? {
        isRoot ? nil : DomainName(self, from: 1 + Int(octet(0)))
    }

    /// Whether the leftmost label is a single asterisk (RFC 4592 §2.1.1).
    package var isWildcard: Bool {
        wireCount > 2 && octet(0) == 1 && octet(1) == 0x2A
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
            position += Int(octet(position)) + 1
            surplus -= 1
        }
        return DomainName(self, from: position)
    }

    /// Whether the name is `ancestor` or lies below it.
    package func isSubdomain(of ancestor: DomainName) -> Bool {
        let surplus = wireCount - ancestor.wireCount
        guard surplus >= 0 else { return false }
        var position = 0
        while position < surplus {
            position += Int(octet(position)) + 1
        }
        return position == surplus && DomainName(self, from: surplus) == ancestor
    }

    /// `label` put before the name.
    ///
    /// - Throws: when the label or the whole gets too long.
    package func prepending(label: some Collection<UInt8>) throws(NameError) -> DomainName {
        guard !label.isEmpty else { throw .emptyLabel }
        guard label.count <= Self.maximumLabelOctets else { throw .labelTooLong }
        guard label.count + 1 + wireCount <= Self.maximumOctets else { throw .nameTooLong }
        return DomainName(checked: [UInt8(label.count)] + label + wire)
    }

    /// The labels of this relative name followed by those of `origin`.
    ///
    /// - Throws: when the whole gets too long.
    package func appending(_ origin: DomainName) throws(NameError) -> DomainName {
        guard wireCount - 1 + origin.wireCount <= Self.maximumOctets else { throw .nameTooLong }
        return DomainName(checked: wire.dropLast() + origin.wire)
    }

    /// The name with its suffix `ancestor` replaced by `target` (DNAME, RFC 6672 §2.2); nil where it isn't below `ancestor`.
    ///
    /// - Throws: when the new name gets too long (the answer is then YXDOMAIN).
    package func replacing(suffix ancestor: DomainName, with target: DomainName) throws(NameError) -> DomainName? {
        guard wireCount > ancestor.wireCount, isSubdomain(of: ancestor) else { return nil }
        let prefix = wireCount - ancestor.wireCount
        guard prefix + target.wireCount <= Self.maximumOctets else { throw .nameTooLong }
        return DomainName(checked: wire[..<prefix] + target.wire)
    }
}

extension DomainName: Hashable {
    package static func == (left: DomainName, right: DomainName) -> Bool {
        guard left.wireCount == right.wireCount else { return false }
        return left.withWire { left in
            right.withWire { right in foldedWords(left).elementsEqual(foldedWords(right)) }
        }
    }

    package func hash(into hasher: inout Hasher) {
        withWire { octets in
            for word in foldedWords(octets) { hasher.combine(word) }
        }
    }
}

extension DomainName: Comparable {
    /// The canonical order of RFC 4034 §6.1: by labels from the right, as lower-case octets, the shorter first.
    package static func < (left: DomainName, right: DomainName) -> Bool {
        left.withWire { left in
            right.withWire { right in
                withLabelPlaces(left) { ours in
                    withLabelPlaces(right) { theirs in precedes(left, ours, right, theirs) }
                }
            }
        }
    }

    private static func precedes(
        _ left: UnsafeRawBufferPointer,
        _ leftPlaces: Slice<UnsafeMutableBufferPointer<UInt8>>,
        _ right: UnsafeRawBufferPointer,
        _ rightPlaces: Slice<UnsafeMutableBufferPointer<UInt8>>
    ) -> Bool {
        for (one, other) in zip(leftPlaces.reversed(), rightPlaces.reversed()) {
            let one = label(left, Int(one))
            let other = label(right, Int(other))
            for (octet, against) in zip(one, other) {
                let (octet, against) = (asciiLowercased(octet), asciiLowercased(against))
                if octet != against { return octet < against }
            }
            if one.count != other.count { return one.count < other.count }
        }
        return leftPlaces.count < rightPlaces.count
    }

    private static func label(_ wire: UnsafeRawBufferPointer, _ place: Int) -> Slice<UnsafeRawBufferPointer> {
        wire[(place + 1)..<(place + 1 + Int(wire[place]))]
    }

    /// Gives to `body` where the labels begin.
    private static func withLabelPlaces<Result>(
        _ wire: UnsafeRawBufferPointer,
        _ body: (Slice<UnsafeMutableBufferPointer<UInt8>>) -> Result
    ) -> Result {
        // Half of the octets at most are lengths of labels.
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: maximumOctets / 2 + 1) { places in
            var count = 0
            var position = 0
            while position < wire.count, wire[position] != 0 {
                places[count] = UInt8(truncatingIfNeeded: position)
                count += 1
                position += Int(wire[position]) + 1
            }
            return body(places[..<count])
        }
    }
}
