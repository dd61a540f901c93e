/// Writes the parts of a message in order, with names compressed (RFC 1035 §4.1.4).
struct MessageWriter {
    private(set) var octets: [UInt8]
    private var suffixes: [Suffix] = []

    /// A name, or the end of one, that later names may point to.
    private struct Suffix {
        var hash: UInt32
        var offset: UInt16
    }

    /// How many places to point to are kept: searching them is what bounds the work for a large message.
    private static let maximumSuffixes = 256

    init(capacity: Int = 512) {
        octets = []
        octets.reserveCapacity(capacity)
        suffixes.reserveCapacity(12)
    }

    var count: Int { octets.count }

    /// Takes back everything behind the first `count` octets.
    mutating func truncate(to count: Int) {
        octets.removeSubrange(count...)
        while let last = suffixes.last, Int(last.offset) >= count { suffixes.removeLast() }
    }

    mutating func write(_ value: UInt8) { octets.append(value) }

    mutating func write(_ value: UInt16) { octets.append(integer: value) }

    mutating func write(_ value: UInt32) { octets.append(integer: value) }

    mutating func write(_ bytes: some Sequence<UInt8>) { octets.append(contentsOf: bytes) }

    mutating func set(_ value: UInt16, at position: Int) { octets.set(integer: value, at: position) }

    mutating func write(_ question: Question) {
        write(question.name)
        write(question.type.rawValue)
        write(question.class.rawValue)
    }

    mutating func write(_ record: ResourceRecord) {
        write(record.name)
        write(record.type.rawValue)
        write(record.class.rawValue)
        write(record.timeToLive)
        let lengthAt = count
        write(UInt16(0))
        switch record.type {
        case .ns, .cname, .ptr, .soa, .mx: if !record.data.isEmpty { writeCompressed(record) }
        default: write(record.data)
        }
        set(UInt16(truncatingIfNeeded: count - lengthAt - 2), at: lengthAt)
    }

    private mutating func writeCompressed(_ record: ResourceRecord) {
        var position = 0
        for field in RecordField.fields(of: record.type) ?? [] {
            if field.isName {
                let length = ResourceRecord.nameLength(in: record.data, at: position)
                record.data.withUnsafeBytes { data in
                    write(name: UnsafeRawBufferPointer(rebasing: data[position..<(position + length)]))
                }
                position += length
            } else {
                let length = field.length(in: record.data, at: position, end: record.data.count) ?? 0
                write(record.data[position..<(position + length)])
                position += length
            }
        }
    }

    mutating func write(_ name: DomainName) { name.withWire { write(name: $0) } }

    private mutating func write(name: UnsafeRawBufferPointer) {
        var position = 0
        while position < name.count, name[position] != 0 {
            let rest = UnsafeRawBufferPointer(rebasing: name[position...])
            let hash = Self.hash(rest)
            if let offset = find(rest, hash: hash) {
                write(0xC000 | offset)
                return
            }
            if octets.count < 0x4000, suffixes.count < Self.maximumSuffixes {
                suffixes.append(Suffix(hash: hash, offset: UInt16(octets.count)))
            }
            let end = position + 1 + Int(name[position])
            octets.append(contentsOf: name[position..<end])
            position = end
        }
        octets.append(0)
    }

    private func find(_ name: UnsafeRawBufferPointer, hash: UInt32) -> UInt16? {
        for suffix in suffixes where suffix.hash == hash && matches(name, at: Int(suffix.offset)) {
            return suffix.offset
        }
        return nil
    }

    /// Whether the name written at `offset` is `name`; its pointers are our own and lead backwards.
    private func matches(_ name: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        var cursor = offset
        var leftInLabel = 0
        for octet in name {
            if leftInLabel == 0 {
                while cursor + 1 < octets.count, octets[cursor] & 0xC0 == 0xC0 {
                    cursor = Int(octets[cursor] & 0x3F) << 8 | Int(octets[cursor + 1])
                }
                leftInLabel = Int(octet) + 1
            }
            guard cursor < octets.count, asciiLowercased(octets[cursor]) == asciiLowercased(octet) else {
                return false
            }
            cursor += 1
            leftInLabel -= 1
        }
        return true
    }

    private static func hash(_ octets: UnsafeRawBufferPointer) -> UInt32 {
        var hash: UInt32 = 2_166_136_261
        for octet in octets { hash = (hash ^ UInt32(asciiLowercased(octet))) &* 16_777_619 }
        return hash
    }
}
