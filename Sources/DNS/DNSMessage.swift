import NIOCore

/// A DNS message (RFC 1035 §4.1), its OPT record taken out of the additional section (RFC 6891).
package struct DNSMessage: Hashable, Sendable {
    /// Matches answers with queries.
    package var id: UInt16
    /// The header's bits.
    package var flags: MessageFlags
    /// How it went, with the upper bits of an OPT record; those need `edns` in order to be sent.
    package var responseCode: ResponseCode
    /// What is asked; one question in nearly every message.
    package var questions: [Question]
    /// The records that answer the question.
    package var answers: [ResourceRecord]
    /// Records that point to an authority, or prove that there is no answer.
    package var authorities: [ResourceRecord]
    /// Further records that may be useful, without OPT.
    package var additionals: [ResourceRecord]
    /// What the OPT record says; nil where there is none.
    package var edns: EDNS?

    /// The octets of the header.
    package static let headerOctets = 12

    /// The octets of a record at the root without data.
    private static let leastRecordOctets = 11

    /// The most octets that a message can have: its length goes into two octets on a stream (RFC 1035 §4.2.2).
    package static let maximumOctets = 0xFFFF

    package init(
        id: UInt16,
        flags: MessageFlags = MessageFlags(rawValue: 0),
        responseCode: ResponseCode = .noError,
        questions: [Question] = [],
        answers: [ResourceRecord] = [],
        authorities: [ResourceRecord] = [],
        additionals: [ResourceRecord] = [],
        edns: EDNS? = nil
    ) {
        self.id = id
        self.flags = flags
        self.responseCode = responseCode
        self.questions = questions
        self.answers = answers
        self.authorities = authorities
        self.additionals = additionals
        self.edns = edns
    }

    /// A standard query that asks for recursion, with an OPT record.
    package static func query(id: UInt16, question: Question, dnssecOK: Bool = false) -> DNSMessage {
        var flags = MessageFlags(rawValue: 0)
        flags.recursionDesired = true
        return DNSMessage(id: id, flags: flags, questions: [question], edns: EDNS(dnssecOK: dnssecOK))
    }

    /// The beginning of an answer to this query: its ID, opcode, question and the bits that are copied.
    package func response(_ code: ResponseCode = .noError) -> DNSMessage {
        var flags = MessageFlags(rawValue: 0)
        flags.isResponse = true
        flags.opcode = self.flags.opcode
        flags.recursionDesired = self.flags.recursionDesired
        flags.checkingDisabled = self.flags.checkingDisabled
        return DNSMessage(
            id: id,
            flags: flags,
            responseCode: code,
            questions: questions,
            edns: edns.map { EDNS(dnssecOK: $0.dnssecOK) }
        )
    }
}

extension DNSMessage {
    /// A message from all of its octets.
    ///
    /// - Throws: what is wrong with them. Time and memory are bounded by the number of octets.
    package init(decoding octets: [UInt8]) throws(MessageError) {
        var reader = MessageReader(octets)
        let id = try reader.readInteger16()
        let word = try reader.readInteger16()
        self.init(id: id, flags: MessageFlags(rawValue: word))
        let questionCount = try reader.readInteger16()
        let answerCount = try reader.readInteger16()
        let authorityCount = try reader.readInteger16()
        let additionalCount = try reader.readInteger16()
        var extendedCode: UInt16 = 0
        // No record takes fewer octets than the least: no more room is made than what is there can fill.
        let most = octets.count / Self.leastRecordOctets
        answers.reserveCapacity(min(Int(answerCount), most))
        authorities.reserveCapacity(min(Int(authorityCount), most))
        additionals.reserveCapacity(min(Int(additionalCount), most))
        for _ in 0..<questionCount { questions.append(try reader.readQuestion()) }
        let isUpdate = flags.opcode == .update
        for _ in 0..<answerCount { answers.append(try Self.readData(&reader, mayBeEmpty: isUpdate)) }
        for _ in 0..<authorityCount { authorities.append(try Self.readData(&reader, mayBeEmpty: isUpdate)) }
        for _ in 0..<additionalCount {
            var record = try reader.readRecord()
            if record.type == .opt {
                guard edns == nil else { throw .badOPT }
                edns = try EDNS.read(record, extendedCode: &extendedCode)
            } else {
                record.limitTimeToLive()
                additionals.append(record)
            }
        }
        guard reader.isAtEnd else { throw .trailingOctets }
        responseCode = ResponseCode(rawValue: extendedCode << 4 | word & 0xF)
    }

    /// A message from a buffer's readable octets.
    ///
    /// - Throws: what is wrong with them.
    package init(decoding buffer: ByteBuffer) throws(MessageError) {
        try self.init(decoding: Array(buffer.readableBytesView))
    }

    private static func readData(
        _ reader: inout MessageReader,
        mayBeEmpty: Bool
    ) throws(MessageError) -> ResourceRecord {
        var record = try reader.readRecord(mayBeEmpty: mayBeEmpty)
        guard record.type != .opt else { throw .badOPT }
        record.limitTimeToLive()
        return record
    }

    /// The message's octets, at most `maximum` of them.
    ///
    /// Records that don't fit are left out: with the TC bit from the answer and authority sections, without it from the
    /// additional section, which nobody must rely on (RFC 2181 §9). The OPT record always stays.
    package func encode(maximum: Int = maximumOctets) -> [UInt8] {
        let limit = min(maximum, Self.maximumOctets) - (edns?.encodedCount ?? 0)
        var writer = MessageWriter()
        writer.write(id)
        writer.write(UInt16(0))
        for _ in 0..<4 { writer.write(UInt16(0)) }
        var flags = flags
        for question in questions { writer.write(question) }
        let answered = Self.write(answers, to: &writer, limit: limit)
        let authorized = answered < answers.count ? 0 : Self.write(authorities, to: &writer, limit: limit)
        if answered < answers.count || authorized < authorities.count { flags.isTruncated = true }
        let added = flags.isTruncated ? 0 : Self.write(additionals, to: &writer, limit: limit)
        edns?.write(to: &writer, responseCode: responseCode)
        writer.set(flags.rawValue | responseCode.rawValue & 0xF, at: 2)
        writer.set(UInt16(truncatingIfNeeded: questions.count), at: 4)
        writer.set(UInt16(truncatingIfNeeded: answered), at: 6)
        writer.set(UInt16(truncatingIfNeeded: authorized), at: 8)
        writer.set(UInt16(truncatingIfNeeded: added + (edns == nil ? 0 : 1)), at: 10)
        return writer.octets
    }

    /// Writes the records that fit; gives how many those are. The records of one set go in together or not at all.
    private static func write(_ records: [ResourceRecord], to writer: inout MessageWriter, limit: Int) -> Int {
        var setStart = 0
        var mark = writer.count
        for (index, record) in records.enumerated() {
            if index > 0, record.type != records[index - 1].type || record.name != records[index - 1].name {
                setStart = index
                mark = writer.count
            }
            writer.write(record)
            if writer.count > limit {
                writer.truncate(to: mark)
                return setStart
            }
        }
        return records.count
    }
}

extension ResourceRecord {
    /// A time to live with the top bit set counts as 0 (RFC 2181 §8).
    mutating func limitTimeToLive() {
        if timeToLive > 0x7FFF_FFFF { timeToLive = 0 }
    }
}
