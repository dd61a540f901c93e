import DNS

/// What is taken of one transfer.
package struct TransferLimits: Hashable, Sendable {
    /// The most records.
    package var records: Int
    /// The most octets that the records may take in memory.
    package var octets: Int

    package init(records: Int = 5_000_000, octets: Int = 256 << 20) {
        self.records = records
        self.octets = octets
    }
}

/// What a transfer brought.
package enum TransferOutcome: Equatable, Sendable {
    /// The server has no later version; this is its SOA record.
    case current(ResourceRecord)
    /// The whole zone, its SOA record first and only once.
    case zone([ResourceRecord])
    /// How to get from the version that the client has to the server's, in order.
    case differences([ZoneDifference])
}

/// Reads the messages of a transfer on a stream (RFC 5936 §2.2, RFC 1995 §4), with everything checked that can be
/// checked without the old zone. Memory is bounded by the limits.
package struct TransferReader: Sendable {
    private let zone: DomainName
    private let question: Question
    private let id: UInt16
    /// The version that the client has, where it asked for differences.
    private let since: SerialNumber?
    private let limits: TransferLimits
    private var state = State.start
    private var isFirstMessage = true
    /// The SOA record that came first: the server's version.
    private var start: ResourceRecord?
    private var startSerial = SerialNumber(0)
    private var records: [ResourceRecord] = []
    private var differences: [ZoneDifference] = []
    private var recordCount = 0
    private var octetCount = 0

    /// What came, as soon as it's complete.
    package private(set) var outcome: TransferOutcome?

    private enum State {
        /// The server's SOA record must come.
        case start
        /// What comes now tells whether it's the zone or differences.
        case second
        /// The zone's records, up to its SOA record.
        case zone
        /// Records that went, up to the SOA record of the version after.
        case removing
        /// Records that came, up to the SOA record that begins another difference or ends all.
        case adding
        case complete
    }

    /// - Parameters:
    ///   - zone: the zone that was asked for.
    ///   - request: what was asked for.
    ///   - id: the query's ID.
    package init(zone: DomainName, request: TransferRequest, id: UInt16, limits: TransferLimits = TransferLimits()) {
        self.zone = zone
        self.id = id
        self.limits = limits
        since = request.serial
        question = Question(name: zone, type: request == .full ? .axfr : .ixfr)
    }

    /// Takes the next message.
    ///
    /// - Throws: why the transfer is useless; nothing more may be given to it then.
    package mutating func read(_ message: DNSMessage) throws(TransferError) {
        try check(message)
        isFirstMessage = false
        for record in message.answers { try add(record) }
        // A lone SOA record says that there is nothing later (RFC 1995 §2). One of a later version begins the zone.
        if state == .second, let start, let since, !startSerial.isAfter(since) {
            state = .complete
            outcome = .current(start)
        }
    }

    /// Whether only an SOA record of a later version has come where differences were asked for: by UDP that says that they
    /// don't fit (RFC 1995 §2), and some servers say so on a stream too. Others send each record in a message of its own.
    package var hasOnlyStart: Bool { state == .second && since != nil }

    private func check(_ message: DNSMessage) throws(TransferError) {
        guard state != .complete else { throw .trailingRecords }
        guard message.id == id, message.flags.isResponse, message.flags.opcode == .query else { throw .foreign }
        guard message.responseCode == .noError else { throw .refused(message.responseCode) }
        // Later messages may leave the question out (RFC 5936 §2.2.1).
        guard message.questions == [question] || message.questions.isEmpty && !isFirstMessage else { throw .foreign }
        guard !message.flags.isTruncated else { throw .truncated }
        guard !message.answers.isEmpty else { throw .empty }
    }

    private mutating func add(_ record: ResourceRecord) throws(TransferError) {
        guard state != .complete else { throw .trailingRecords }
        guard record.class == .internet, !record.type.isMeta else { throw .notData(record.type) }
        guard record.name.isSubdomain(of: zone) else { throw .notInZone(record.name) }
        recordCount += 1
        octetCount += record.memoryCount
        guard recordCount <= limits.records, octetCount <= limits.octets else { throw .tooLarge }
        guard record.type == .soa else { return try addData(record) }
        guard record.name == zone else { throw .misplacedStart(record.name) }
        guard let serial = StartOfAuthority(record)?.serial else { throw .notData(.soa) }
        try addStart(record, SerialNumber(serial))
    }

    private mutating func addData(_ record: ResourceRecord) throws(TransferError) {
        switch state {
        case .start, .complete: throw .noStart
        case .second:
            // Not an SOA record: it's the whole zone, whatever was asked for (RFC 1995 §4).
            state = .zone
            records.append(record)
        case .zone: records.append(record)
        case .removing: differences[differences.count - 1].removed.append(record)
        case .adding: differences[differences.count - 1].added.append(record)
        }
    }

    private mutating func addStart(_ record: ResourceRecord, _ serial: SerialNumber) throws(TransferError) {
        switch state {
        case .start:
            start = record
            startSerial = serial
            records.append(record)
            state = .second
        case .second:
            if let since, serial == since, serial != startSerial {
                records = []
                try beginDifference(record, serial, after: since)
            } else {
                try endZone(record)
            }
        case .zone: try endZone(record)
        case .removing:
            let former = differences[differences.count - 1].formerSerial
            // Always forward and never past the end, so that this comes to an end.
            guard serial.isAfter(former), serial == startSerial || startSerial.isAfter(serial) else {
                throw .wrongSerial(serial.rawValue)
            }
            differences[differences.count - 1].latter = record
            state = .adding
        case .adding:
            let latter = differences[differences.count - 1].latterSerial
            if latter == startSerial {
                guard record.isSame(as: start) else { throw .otherEnd }
                state = .complete
                outcome = .differences(differences)
            } else {
                try beginDifference(record, serial, after: latter)
            }
        case .complete: throw .trailingRecords
        }
    }

    private mutating func endZone(_ record: ResourceRecord) throws(TransferError) {
        guard record.isSame(as: start) else { throw .otherEnd }
        state = .complete
        outcome = .zone(records)
        records = []
    }

    private mutating func beginDifference(
        _ record: ResourceRecord,
        _ serial: SerialNumber,
        after former: SerialNumber
    ) throws(TransferError) {
        guard serial == former, startSerial.isAfter(serial) else { throw .wrongSerial(serial.rawValue) }
        // Until the version after is known, it's the one before.
        differences.append(ZoneDifference(former: record, latter: record))
        state = .removing
    }
}

extension ZoneDifference {
    fileprivate var formerSerial: SerialNumber { SerialNumber(StartOfAuthority(former)?.serial ?? 0) }
    fileprivate var latterSerial: SerialNumber { SerialNumber(StartOfAuthority(latter)?.serial ?? 0) }
}

extension ResourceRecord {
    /// What the record takes in memory, about. Octets.
    package var memoryCount: Int { 160 + name.wireCount + data.count }

    /// Whether it is the same record, names in its data compared without case.
    fileprivate func isSame(as other: ResourceRecord?) -> Bool {
        guard let other else { return false }
        return RecordIdentity(self) == RecordIdentity(other)
    }
}
