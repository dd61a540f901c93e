/// Why octets are not a DNS message.
package enum MessageError: Error, Equatable, Sendable {
    /// The message ends before what it promises.
    case truncated
    /// A compression pointer that doesn't point backwards, or into the header (RFC 1035 §4.1.4).
    case badPointer
    /// A label type that nobody uses (RFC 6891 §5).
    case badLabel
    /// A name of more than 255 octets.
    case nameTooLong
    /// Record data that doesn't have the form of its type.
    case badRecordData
    /// More than one OPT record, or one that isn't at the root, or outside the additional section (RFC 6891 §6.1.1).
    case badOPT
    /// Octets behind the last record.
    case trailingOctets
}

/// Reads the parts of a message in order. Every read is checked against the message's end.
package struct MessageReader: Sendable {
    let octets: [UInt8]
    /// Where the next part is read.
    package private(set) var position: Int
    /// The first name that was read, and the last one, with their places: those are what pointers mostly lead to.
    private var first: (place: Int, name: DomainName)?
    private var last: (place: Int, name: DomainName)?

    /// Reads `octets` from `position` on.
    package init(_ octets: [UInt8], position: Int = 0) {
        self.octets = octets
        self.position = position
    }

    /// Whether all octets were read.
    package var isAtEnd: Bool { position >= octets.count }

    mutating func readInteger8() throws(MessageError) -> UInt8 {
        guard position < octets.count else { throw .truncated }
        defer { position += 1 }
        return octets[position]
    }

    /// Two octets in network order.
    package mutating func readInteger16() throws(MessageError) -> UInt16 {
        guard octets.count - position >= 2 else { throw .truncated }
        defer { position += 2 }
        return UInt16(octets[position]) << 8 | UInt16(octets[position + 1])
    }

    /// Four octets in network order.
    package mutating func readInteger32() throws(MessageError) -> UInt32 {
        UInt32(try readInteger16()) << 16 | UInt32(try readInteger16())
    }

    /// So many octets as they are.
    package mutating func readOctets(_ count: Int) throws(MessageError) -> ArraySlice<UInt8> {
        guard count >= 0, octets.count - position >= count else { throw .truncated }
        defer { position += count }
        return octets[position..<(position + count)]
    }

    /// A name, which may be compressed. It takes no more memory than it must: most names come to stay.
    package mutating func readName() throws(MessageError) -> DomainName {
        let place: Int
        if octets.count - position >= 2, octets[position] & 0xC0 == 0xC0 {
            place = Int(octets[position] & 0x3F) << 8 | Int(octets[position + 1])
            if let known = first?.place == place ? first : last?.place == place ? last : nil {
                position += 2
                return known.name
            }
        } else {
            place = position
        }
        let name = try copyName()
        if first == nil { first = (place, name) } else { last = (place, name) }
        return name
    }

    private mutating func copyName() throws(MessageError) -> DomainName {
        let (count, end) = try measureName()
        var cursor = position
        let wire = [UInt8](unsafeUninitializedCapacity: count) { wire, filled in
            while filled < count {
                let length = Int(octets[cursor])
                if length > DomainName.maximumLabelOctets {
                    cursor = (length & 0x3F) << 8 | Int(octets[cursor + 1])
                    continue
                }
                for octet in octets[cursor...(cursor + length)] {
                    wire[filled] = octet
                    filled += 1
                }
                cursor += length + 1
            }
        }
        position = end
        return DomainName(checked: wire)
    }

    /// How many octets the name here has uncompressed, and where it ends. Each pointer must lead to before the labels that
    /// it follows, so that the walk ends after at most one step for each octet of the message.
    private func measureName() throws(MessageError) -> (count: Int, end: Int) {
        var count = 0
        var cursor = position
        var segmentStart = position
        var end: Int?
        while true {
            guard cursor < octets.count else { throw .truncated }
            let length = Int(octets[cursor])
            switch length & 0xC0 {
            case 0x00:
                cursor += 1 + length
                guard cursor <= octets.count else { throw .truncated }
                count += 1 + length
                guard count <= DomainName.maximumOctets else { throw .nameTooLong }
                if length == 0 { return (count, end ?? cursor) }
            case 0xC0:
                guard cursor + 1 < octets.count else { throw .truncated }
                let target = (length & 0x3F) << 8 | Int(octets[cursor + 1])
                guard target < segmentStart, target >= DNSMessage.headerOctets else { throw .badPointer }
                end = end ?? cursor + 2
                segmentStart = target
                cursor = target
            default:
                throw .badLabel
            }
        }
    }

    /// The data of a record of `type`, `length` octets on the wire, with every name in it uncompressed.
    mutating func readRecordData(of type: RecordType, length: Int) throws(MessageError) -> [UInt8] {
        guard octets.count - position >= length else { throw .truncated }
        let start = position
        let end = position + length
        guard let fields = RecordField.fields(of: type) else { return Array(try readOctets(length)) }
        if fields.count == 1, fields[0].isName {
            let name = try readName()
            guard position == end else { throw .badRecordData }
            return name.wire
        }
        // What lies before the first name, or all there is, is copied at once.
        var data: [UInt8]?
        for field in fields {
            if field.isName {
                var known = data ?? Array(octets[start..<position])
                known.append(contentsOf: try readName().wire)
                data = known
                guard position <= end else { throw .badRecordData }
            } else {
                guard let count = field.length(in: octets, at: position, end: end) else { throw .badRecordData }
                let slice = try readOctets(count)
                data?.append(contentsOf: slice)
            }
        }
        guard position == end else { throw .badRecordData }
        guard let data else { return Array(octets[start..<end]) }
        // Names may grow when they are uncompressed, and data has only two octets for its length.
        guard data.count <= 0xFFFF else { throw .badRecordData }
        return data.withUnsafeBufferPointer { Array($0) }
    }

    /// An entry of the question section.
    package mutating func readQuestion() throws(MessageError) -> Question {
        let name = try readName()
        let type = RecordType(rawValue: try readInteger16())
        return Question(name: name, type: type, class: RecordClass(rawValue: try readInteger16()))
    }

    /// A record, its data checked against the form of its type.
    ///
    /// - Parameter mayBeEmpty: whether records of the classes ANY and NONE may come without data, as in updates (RFC 2136
    ///   §2.4, §2.5).
    package mutating func readRecord(mayBeEmpty: Bool = false) throws(MessageError) -> ResourceRecord {
        let name = try readName()
        let type = RecordType(rawValue: try readInteger16())
        let recordClass = RecordClass(rawValue: try readInteger16())
        let timeToLive = try readInteger32()
        let length = Int(try readInteger16())
        let isEmpty = mayBeEmpty && length == 0 && (recordClass == .any || recordClass == .none)
        let data = isEmpty ? [] : try readRecordData(of: type, length: length)
        return ResourceRecord(name: name, type: type, class: recordClass, timeToLive: timeToLive, data: data)
    }
}
