import DNS

/// The messages that answer a request for a zone, one at a time, so that never more of the zone is encoded than is being
/// sent (RFC 5936 §2.2).
package struct TransferWriter<Records: IteratorProtocol> where Records.Element == ResourceRecord {
    private let first: DNSMessage
    private let limit: Int
    private var records: Records
    private var pending: ResourceRecord?
    private var isFirst = true

    /// How many octets of records a message gets, before names are compressed. Larger messages compress hardly better:
    /// a name can point to the first 16 KiB of a message only.
    private static var aim: Int { 16 * 1024 }

    /// - Parameters:
    ///   - query: the request.
    ///   - records: what is to be sent, from the first SOA record to the last one.
    ///   - reserve: octets that each message leaves for a signature.
    package init(answering query: DNSMessage, with records: Records, reserve: Int = 0) {
        var first = query.response()
        first.flags.isAuthoritative = true
        self.first = first
        self.records = records
        limit = DNSMessage.maximumOctets - max(0, reserve)
    }

    /// The next message; nil after the last one.
    ///
    /// - Throws: `recordTooLong`, at a record that doesn't even fit alone.
    package mutating func next() throws(TransferError) -> [UInt8]? {
        var message = first
        if !isFirst {
            // Only the first message needs the question and OPT (RFC 5936 §2.2.1, §2.2.5).
            message.questions = []
            message.edns = nil
        }
        isFirst = false
        var octets = 0
        while let record = pending ?? records.next() {
            let size = record.uncompressedCount
            pending = record
            if !message.answers.isEmpty, octets + size > Self.aim { break }
            octets += size
            message.answers.append(record)
            pending = nil
        }
        guard let last = message.answers.last else { return nil }
        let encoded = message.encode(maximum: limit)
        // TC: something didn't fit, which must have been a record that is alone.
        guard encoded[2] & 0x02 == 0 else { throw .recordTooLong(last.name) }
        return encoded
    }
}

extension ResourceRecord {
    /// How many octets the record takes in a message at most.
    var uncompressedCount: Int { name.wireCount + 10 + data.count }
}
