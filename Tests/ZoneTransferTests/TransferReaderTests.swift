import DNS
import Testing

@testable import ZoneTransfer

struct TransferReaderTests {
    private func zone(_ serial: UInt32 = 5) throws -> [ResourceRecord] {
        try [start(serial)] + records("@ NS ns", "ns A 192.0.2.1", "*.sub TXT \"a\"", "glue.below A 192.0.2.2")
    }

    @Test(arguments: [1, 2, 3, 100])
    func aWholeZone(_ each: Int) throws {
        var reader = try reader()
        let zone = try zone()
        try reader.readAll(zone + [start(5)], each: each)
        #expect(reader.outcome == .zone(zone))
    }

    @Test func aWholeZoneForDifferences() throws {
        var reader = try reader(since: 3)
        let zone = try zone()
        // One record alone in the first message: not yet "nothing later", because it's later.
        try reader.readAll(zone + [start(5)], .ixfr, each: 1)
        #expect(reader.outcome == .zone(zone))
    }

    @Test func anOlderWholeZoneForDifferences() throws {
        var reader = try reader(since: 9)
        try reader.readAll(zone() + [start(5)], .ixfr, each: 100)
        #expect(reader.outcome == .zone(try zone()))
    }

    @Test(arguments: [5, 6] as [UInt32])
    func nothingLater(_ since: UInt32) throws {
        var reader = try reader(since: since)
        try reader.read(message([start(5)], .ixfr))
        #expect(reader.outcome == .current(try start(5)))
    }

    @Test(arguments: [1, 2, 5, 100])
    func differences(_ each: Int) throws {
        // The example of RFC 1995 §7, with two versions between.
        let first = ZoneDifference(
            former: try start(1),
            removed: try records("nezu A 133.69.136.5"),
            latter: try start(2),
            added: try records("jain-bb A 133.69.136.4", "jain-bb A 192.41.197.2")
        )
        let second = ZoneDifference(
            former: try start(2),
            removed: try records("jain-bb A 133.69.136.4"),
            latter: try start(3),
            added: try records("jain-bb A 133.69.136.3")
        )
        var reader = try reader(since: 1)
        try reader.readAll([start(3)] + first.records + second.records + [start(3)], .ixfr, each: each)
        #expect(reader.outcome == .differences([first, second]))
    }

    @Test func emptyDifference() throws {
        var reader = try reader(since: 1)
        try reader.readAll([start(2), start(1), start(2), start(2)], .ixfr, each: 4)
        #expect(reader.outcome == .differences([ZoneDifference(former: try start(1), latter: try start(2))]))
    }

    @Test func serialsGoRoundTheCircle() throws {
        var reader = try reader(since: .max)
        try reader.readAll([start(1), start(.max), start(1), start(1)], .ixfr, each: 4)
        #expect(reader.outcome == .differences([ZoneDifference(former: try start(.max), latter: try start(1))]))
    }

    // MARK: What is wrong

    private func error(since: UInt32? = nil, _ records: [ResourceRecord], each: Int = 100) throws -> TransferError? {
        var reader = try reader(since: since)
        do {
            try reader.readAll(records, since == nil ? .axfr : .ixfr, each: each)
            return nil
        } catch let error as TransferError {
            #expect(reader.outcome == nil || error == .trailingRecords)
            return error
        }
    }

    @Test func wrongRecords() throws {
        #expect(try error(records("@ NS ns")) == .noStart)
        #expect(
            try error([start(5)] + records("www.example.net. A 192.0.2.1")) == .notInZone(DomainName("www.example.net"))
        )
        #expect(try error(records("a SOA ns root 5 1 1 1 1")) == .misplacedStart(DomainName("a.transfer.test")))
        #expect(
            try error([start(5)] + records("a SOA ns root 5 1 1 1 1")) == .misplacedStart(DomainName("a.transfer.test"))
        )
        #expect(try error([start(5)] + records("@ NS ns") + [start(6)]) == .otherEnd)
        #expect(try error(zone() + [record("@ SOA other root 5 3600 600 86400 300")]) == .otherEnd)
        #expect(try error(zone() + [start(5)] + records("b A 192.0.2.9")) == .trailingRecords)
        #expect(try error(zone() + [start(5), start(5)], each: 6) == .trailingRecords)
        var other = try record("b TXT a")
        other.class = .chaos
        #expect(try error([start(5), other]) == .notData(.txt))
        let meta = try ResourceRecord(name: DomainName(zoneName), type: .tsig, timeToLive: 0, wireData: [0])
        #expect(try error([start(5), meta]) == .notData(.tsig))
    }

    @Test func wrongDifferences() throws {
        // Begins with a version that isn't ours.
        #expect(try error(since: 1, [start(4), start(2), start(4), start(4)]) == .otherEnd)
        // Goes backwards, stands still, or past the end.
        #expect(try error(since: 2, [start(4), start(2), start(1)]) == .wrongSerial(1))
        #expect(try error(since: 2, [start(4), start(2), start(2)]) == .wrongSerial(2))
        #expect(try error(since: 2, [start(4), start(2), start(5)]) == .wrongSerial(5))
        // The next difference begins with another version than the last one led to.
        #expect(try error(since: 1, [start(4), start(1), start(2), start(3)]) == .wrongSerial(3))
        // Ends with another SOA record.
        let end = try record("@ SOA other root 4 3600 600 86400 300")
        #expect(try error(since: 1, [start(4), start(1), start(4), end]) == .otherEnd)
        #expect(
            try error(since: 1, [start(4), start(1), start(4), start(4)] + records("b A 192.0.2.9")) == .trailingRecords
        )
        // Not asked for.
        #expect(try error([start(4), start(1), start(4), start(4)]) == .otherEnd)
    }

    @Test func incompleteTransfers() throws {
        for count in 1...5 {
            var reader = try reader()
            try reader.readAll(Array(zone().prefix(count)), each: 2)
            #expect(reader.outcome == nil)
        }
        var reader = try reader(since: 1)
        try reader.readAll([start(3), start(1), start(3)], .ixfr, each: 2)
        #expect(reader.outcome == nil)
    }

    @Test func wrongMessages() throws {
        let good = try message([start(5)])
        func error(_ change: (inout DNSMessage) throws -> Void) throws -> TransferError? {
            var reader = try reader()
            var message = good
            try change(&message)
            do {
                try reader.read(message)
                return nil
            } catch {
                return error
            }
        }
        #expect(try error { _ in } == nil)
        #expect(try error { $0.id = 8 } == .foreign)
        #expect(try error { $0.flags.isResponse = false } == .foreign)
        #expect(try error { $0.flags.opcode = .notify } == .foreign)
        #expect(try error { $0.questions = [] } == .foreign)
        #expect(try error { $0.questions = [Question(name: try DomainName("other.test"), type: .axfr)] } == .foreign)
        #expect(try error { $0.questions = [Question(name: try DomainName(zoneName), type: .ixfr)] } == .foreign)
        #expect(try error { $0.responseCode = .refused } == .refused(.refused))
        #expect(try error { $0.flags.isTruncated = true } == .truncated)
        #expect(try error { $0.answers = [] } == .empty)
    }

    @Test func laterMessagesOfAnotherAnswer() throws {
        var reader = try reader()
        try reader.read(message([start(5)]))
        var other = try message(records("a A 192.0.2.1"), asks: false)
        other.id = 8
        #expect(throws: TransferError.foreign) { try reader.read(other) }
    }

    @Test func limits() throws {
        var few = try reader(limits: TransferLimits(records: 3))
        #expect(throws: TransferError.tooLarge) { try few.readAll(zone() + [start(5)], each: 1) }
        var small = try reader(limits: TransferLimits(octets: 700))
        #expect(throws: TransferError.tooLarge) { try small.readAll(zone() + [start(5)], each: 1) }
        // Differences count alike, removed records too.
        var differences = try reader(since: 1, limits: TransferLimits(records: 5))
        let removed = try records("a A 192.0.2.1", "b A 192.0.2.1", "c A 192.0.2.1", "d A 192.0.2.1")
        #expect(throws: TransferError.tooLarge) {
            try differences.readAll([start(3), start(1)] + removed, .ixfr, each: 1)
        }
    }
}
