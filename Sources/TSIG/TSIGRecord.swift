import DNS

/// A TSIG record: the signature of one message (RFC 8945 §4.2).
package struct TSIGRecord: Hashable, Sendable {
    /// What is wrong with a signature (RFC 8945 §3, RFC 6895 §2.3).
    package enum Problem: UInt16, Hashable, Sendable {
        case none = 0
        case badSignature = 16
        case badKey = 17
        case badTime = 18
        case badTruncation = 22
    }

    package var keyName: DomainName
    package var algorithmName: DomainName
    /// Seconds since 1970, 48 bits.
    package var timeSigned: UInt64
    /// By how many seconds clocks may differ.
    package var fudge: UInt16
    package var code: [UInt8]
    package var originalID: UInt16
    /// A `Problem`, or another number.
    package var error: UInt16
    /// With BADTIME the server's time.
    package var otherData: [UInt8]

    /// What RFC 8945 §10 recommends. Seconds.
    package static let standardFudge: UInt16 = 300

    static let maximumTime: UInt64 = (1 << 48) - 1

    /// The record's content; nil for what isn't of its form (RFC 8945 §4.2).
    package init?(_ record: ResourceRecord) {
        guard record.type == .tsig, record.class == .any, record.timeToLive == 0 else { return nil }
        var reader = MessageReader(record.data)
        do {
            keyName = record.name
            algorithmName = try reader.readName()
            timeSigned = UInt64(try reader.readInteger16()) << 32 | UInt64(try reader.readInteger32())
            fudge = try reader.readInteger16()
            code = Array(try reader.readOctets(Int(try reader.readInteger16())))
            originalID = try reader.readInteger16()
            error = try reader.readInteger16()
            otherData = Array(try reader.readOctets(Int(try reader.readInteger16())))
        } catch {
            return nil
        }
        guard reader.isAtEnd else { return nil }
    }

    init(key: DomainName, algorithm: DomainName, time: UInt64, originalID: UInt16) {
        keyName = key
        algorithmName = algorithm
        timeSigned = time & Self.maximumTime
        fudge = Self.standardFudge
        code = []
        self.originalID = originalID
        error = 0
        otherData = []
    }

    /// The server's time that comes with BADTIME (RFC 8945 §5.2.3); nil where there is none.
    package var serverTime: UInt64? {
        otherData.count == 6 ? otherData.reduce(0) { $0 << 8 | UInt64($1) } : nil
    }

    /// The whole record, as it stands at the end of a message.
    var wire: [UInt8] {
        var data = algorithmName.lowercased.wire
        data.append(time: timeSigned)
        data.append(integer: fudge)
        data.append(integer: UInt16(truncatingIfNeeded: code.count))
        data += code
        data.append(integer: originalID)
        data.append(integer: error)
        data.append(integer: UInt16(truncatingIfNeeded: otherData.count))
        data += otherData
        var record = keyName.lowercased.wire
        record.append(integer: RecordType.tsig.rawValue)
        record.append(integer: RecordClass.any.rawValue)
        record += [0, 0, 0, 0]
        record.append(integer: UInt16(truncatingIfNeeded: data.count))
        return record + data
    }

    /// What of the record is signed: the TSIG variables (RFC 8945 §4.3.3).
    var variables: [UInt8] {
        var octets = keyName.lowercased.wire
        octets.append(integer: RecordClass.any.rawValue)
        octets += [0, 0, 0, 0]
        octets += algorithmName.lowercased.wire
        octets += timers
        octets.append(integer: error)
        octets.append(integer: UInt16(truncatingIfNeeded: otherData.count))
        return octets + otherData
    }

    /// What of the record is signed in all messages of a stream but the first (RFC 8945 §5.3.1).
    var timers: [UInt8] {
        var octets: [UInt8] = []
        octets.append(time: timeSigned)
        octets.append(integer: fudge)
        return octets
    }
}

extension [UInt8] {
    /// Adds a time of 48 bits.
    mutating func append(time value: UInt64) {
        append(integer: UInt16(truncatingIfNeeded: value >> 32))
        append(integer: UInt32(truncatingIfNeeded: value))
    }
}
