import DNS

/// A message taken apart: what was signed, and the signature.
package struct TSIGMessage: Sendable {
    /// Why a message isn't one with a signature (RFC 8945 §5.2: FORMERR).
    package enum Fault: Error, Hashable, Sendable {
        /// Not a DNS message.
        case message(MessageError)
        /// A TSIG record that isn't the last one of the additional section, or a second one.
        case misplaced
        /// A TSIG record of another form.
        case record
    }

    /// The message as it was before it was signed: without the record, with the original ID.
    package let unsigned: [UInt8]
    package let record: TSIGRecord

    /// Takes a message apart; nil where it has no TSIG record.
    package static func split(_ octets: [UInt8]) throws(Fault) -> TSIGMessage? {
        let place: (start: Int, record: ResourceRecord)?
        do {
            place = try find(octets)
        } catch let fault as Fault {
            throw fault
        } catch let error as MessageError {
            throw .message(error)
        } catch {
            return nil
        }
        guard let place else { return nil }
        guard let record = TSIGRecord(place.record) else { throw .record }
        var unsigned = Array(octets[..<place.start])
        // `find` has read a header and a record of the additional section.
        let additional = (UInt16(unsigned[10]) << 8 | UInt16(unsigned[11])) - 1
        unsigned.set(integer: additional, at: 10)
        unsigned.set(integer: record.originalID, at: 0)
        return TSIGMessage(unsigned: unsigned, record: record)
    }

    private static func find(_ octets: [UInt8]) throws -> (start: Int, record: ResourceRecord)? {
        var reader = MessageReader(octets)
        _ = try reader.readInteger32()
        let questions = try reader.readInteger16()
        let records = Int(try reader.readInteger16()) + Int(try reader.readInteger16())
        let additionals = Int(try reader.readInteger16())
        for _ in 0..<questions { _ = try reader.readQuestion() }
        for index in 0..<(records + additionals) {
            let start = reader.position
            let record = try reader.readRecord(mayBeEmpty: true)
            guard record.type == .tsig else { continue }
            guard index >= records, index == records + additionals - 1 else { throw Fault.misplaced }
            guard reader.isAtEnd else { throw MessageError.trailingOctets }
            return (start, record)
        }
        return nil
    }

    /// A message with a TSIG record put behind it.
    static func join(_ message: [UInt8], _ record: TSIGRecord) -> [UInt8] {
        guard message.count >= DNSMessage.headerOctets else { return message }
        var joined = message
        joined.set(integer: (UInt16(message[10]) << 8 | UInt16(message[11])) &+ 1, at: 10)
        return joined + record.wire
    }

    /// The ID in a message's header.
    static func id(_ message: [UInt8]) -> UInt16 {
        message.count >= 2 ? UInt16(message[0]) << 8 | UInt16(message[1]) : 0
    }
}
