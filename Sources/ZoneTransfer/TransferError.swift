import DNS

/// Why a transfer came to nothing.
package enum TransferError: Error, Equatable, Sendable {
    /// The server said no.
    case refused(ResponseCode)
    /// A message that is no answer to the request: another ID, another question, another opcode.
    case foreign
    /// TC is set, which it can't be on a stream.
    case truncated
    /// A message without a record.
    case empty
    /// The first record isn't the zone's SOA record.
    case noStart
    /// Differences were asked for, and the SOA record of a later version came alone: the server has none.
    case onlyStart
    /// A record of another zone.
    case notInZone(DomainName)
    /// A record that no zone can have: of another class, or of a type that belongs to messages.
    case notData(RecordType)
    /// An SOA record below the zone's top.
    case misplacedStart(DomainName)
    /// Another SOA record at the end than at the beginning.
    case otherEnd
    /// Differences that begin or go on with another version than they must.
    case wrongSerial(UInt32)
    /// Records behind the last SOA record.
    case trailingRecords
    /// More records or octets than are taken.
    case tooLarge
    /// A record that no message has room for.
    case recordTooLong(DomainName)
    /// A set that couldn't be signed.
    case unsigned(DomainName)
}

extension TransferError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .refused(let code): "the server answered \(code)"
        case .foreign: "a message that is no answer to the request"
        case .truncated: "a truncated message"
        case .empty: "a message without records"
        case .noStart: "the first record is not the zone's SOA record"
        case .onlyStart: "the server has a later version, but no differences"
        case .notInZone(let name): "\(name) is not in the zone"
        case .notData(let type): "a record of type \(type) or of another class than IN"
        case .misplacedStart(let name): "an SOA record at \(name)"
        case .otherEnd: "another SOA record at the end than at the beginning"
        case .wrongSerial(let serial): "differences with serial \(serial) where it can't be"
        case .trailingRecords: "records behind the last SOA record"
        case .tooLarge: "more records or octets than are taken"
        case .recordTooLong(let name): "a record of \(name) is too long for a message"
        case .unsigned(let name): "a set of \(name) couldn't be signed"
        }
    }
}
