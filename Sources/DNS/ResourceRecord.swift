/// What is asked (RFC 1035 §4.1.2).
package struct Question: Hashable, Sendable {
    /// The name asked for.
    package var name: DomainName
    /// The type asked for.
    package var type: RecordType
    /// The class asked for, nearly always the internet's.
    package var `class`: RecordClass

    package init(name: DomainName, type: RecordType, class: RecordClass = .internet) {
        self.name = name
        self.type = type
        self.class = `class`
    }
}

/// A resource record (RFC 1035 §3.2.1).
package struct ResourceRecord: Hashable, Sendable {
    /// The name that the record belongs to.
    package var name: DomainName
    /// The type of the data.
    package var type: RecordType
    /// The class.
    package var `class`: RecordClass
    /// Seconds for which the record may be kept.
    package var timeToLive: UInt32
    /// The data as it is on the wire, with names uncompressed; at most 65,535 octets, and of the type's form (or none, in an
    /// update's records of the classes ANY and NONE).
    package let data: [UInt8]

    init(name: DomainName, type: RecordType, class: RecordClass, timeToLive: UInt32, data: [UInt8]) {
        self.name = name
        self.type = type
        self.class = `class`
        self.timeToLive = timeToLive
        self.data = data
    }

    /// A record with data in uncompressed wire form.
    ///
    /// - Throws: `MessageError` when the data doesn't have the form of its type.
    package init(
        name: DomainName,
        type: RecordType,
        class: RecordClass = .internet,
        timeToLive: UInt32,
        wireData: [UInt8]
    ) throws(MessageError) {
        var reader = MessageReader(wireData)
        let data = try reader.readRecordData(of: type, length: wireData.count)
        // Equal means that no name in it was a pointer.
        guard data == wireData else { throw .badRecordData }
        self.init(name: name, type: type, class: `class`, timeToLive: timeToLive, data: data)
    }

    /// A record without data, as updates have them to speak of a set or a name (RFC 2136 §2.4, §2.5).
    package static func empty(_ name: DomainName, _ type: RecordType, _ class: RecordClass) -> ResourceRecord {
        ResourceRecord(name: name, type: type, class: `class`, timeToLive: 0, data: [])
    }

    /// Calls `body` with each field of the data and its octets; not at all for an opaque type.
    func forEachField(_ body: (RecordField, ArraySlice<UInt8>) -> Void) {
        guard let fields = RecordField.fields(of: type) else { return }
        var position = 0
        for field in fields {
            let length: Int
            if field.isName {
                length = Self.nameLength(in: data, at: position)
            } else {
                length = field.length(in: data, at: position, end: data.count) ?? 0
            }
            body(field, data[position..<(position + length)])
            position += length
        }
    }

    /// How many octets the uncompressed name at `position` takes.
    static func nameLength(in octets: [UInt8], at position: Int) -> Int {
        var cursor = position
        while cursor < octets.count, octets[cursor] != 0 { cursor += Int(octets[cursor]) + 1 }
        return min(cursor + 1, octets.count) - position
    }
}
