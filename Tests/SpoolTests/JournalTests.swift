import Files
import NIOCore
import SimulatedDisk
import SpoolSimulation
import Testing

@testable import Spool

#if canImport(Glibc)
import Glibc
#endif

@Suite struct JournalTests {
    @Test func journalTornAtEveryOctetKeepsWholeTransactions() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        var ends: [(Int, Set<MessageID>)] = [(0, [])]
        var alive: Set<MessageID> = []
        var length = 0
        for step in 0..<6 {
            var operations: [SpoolOperation] = []
            if step % 3 == 2, let last = alive.max() {
                operations.append(.done(last))
                alive.remove(last)
            }
            for _ in 0..<(2 - operations.count) {
                let id = spool.makeID()
                operations.append(try spool.put(id, "\(step)"))
                alive.insert(id)
            }
            var record = ByteBuffer()
            _ = JournalRecord.append(operations, to: &record)
            #expect(record.readableBytes == JournalRecord.length(of: operations))
            length += record.readableBytes
            ends.append((length, alive))
            try await spool.commitDurably(operations)
        }
        await spool.close()

        let whole = try directory.read("journal/0")
        let journal = try #require(whole.getSlice(at: JournalSegment.start, length: length))
        let file = try directory.disk.open("\(directory.path)/journal/0", in: nil, .reading, mode: 0)
        defer { directory.disk.close(file) }
        let segment = JournalSegment(disk: directory.disk, file: file, size: whole.readableBytes)
        let header = try #require(try segment.header())
        for cut in 0...length {
            var torn = try #require(journal.getSlice(at: 0, length: cut))
            // What an older use of the segment left behind the tear.
            torn.writeRepeatingByte(UInt8(truncatingIfNeeded: cut), count: 64)
            var found: Set<MessageID> = []
            while let record = JournalRecord.next(from: &torn, of: header) {
                for operation in record.operations {
                    switch operation {
                    case .put(let id, _): found.insert(id)
                    case .done(let id): found.remove(id)
                    case .state, .note: break
                    }
                }
            }
            let expected = try #require(ends.last { $0.0 <= cut }?.1)
            #expect(found == expected, "cut at \(cut)")
        }
    }

    /// The same with the real files.
    @Test func spoolOpensWithATornJournal() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let first = try await spool.add("first\r\n")
        let second = try await spool.add("second\r\n")
        directory.kill(spool)
        // The last record lost its last octets.
        let end = try #require(try directory.records().last?.upperBound)
        try directory.write(ByteBuffer(repeating: 0, count: 5), to: "journal/0", at: end - 5)
        let again = try directory.open()
        #expect(try again.text(of: first) == "first\r\n")
        #expect(throws: SpoolError.missing) { try again.content(of: second, verified: true) }
        await again.close()
    }

    /// What was synced and is bad now is no tear.
    @Test func badRecordBeforeAGoodOneStopsTheStart() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        for number in 0..<3 { _ = try await spool.add("message \(number)\r\n") }
        directory.kill(spool)
        let records = try directory.records()
        #expect(records.count == 3)
        try directory.spoil("journal/0", at: records[1].lowerBound + 60)
        let before = try (directory.read("journal/0"), directory.read("journal/1"))
        let (bad, good) = (records[1].lowerBound, records[2].lowerBound)
        let text = "journal/0 has a bad record at octet \(bad), and a good one at octet \(good)"
        for _ in 0..<2 {
            #expect(throws: SpoolError.corrupt(text)) { try directory.open() }
            #expect(try directory.read("journal/0") == before.0)
            #expect(try directory.read("journal/1") == before.1)
            #expect(try directory.queued().isEmpty)
        }
        try directory.spoil("journal/0", at: records[1].lowerBound + 60)
        let again = try directory.open()
        #expect(try directory.queued().count == 3)
        await again.close()
    }

    /// A length that leads astray too.
    @Test func badLengthBeforeAGoodRecordStopsTheStart() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        for number in 0..<3 { _ = try await spool.add("message \(number)\r\n") }
        directory.kill(spool)
        let records = try directory.records()
        for place in 0..<4 {
            try directory.spoil("journal/0", at: records[0].lowerBound + place)
            #expect(throws: SpoolError.self) { try directory.open() }
            try directory.spoil("journal/0", at: records[0].lowerBound + place)
        }
        let again = try directory.open()
        #expect(try directory.queued().count == 3)
        await again.close()
    }

    /// Of a batch that was being written when the power failed, any part may be there.
    @Test func badRecordOfTheLastBatchIsATear() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let first = try await spool.add("first")
        let workers = directory.workers
        workers.mode = .stepped
        let ids = (0..<3).map { _ in spool.makeID() }
        for id in ids { spool.commit([try spool.put(id, "batch")]) }
        workers.mode = .immediate
        directory.kill(spool)
        let records = try directory.records()
        #expect(records.count == 4)
        try directory.spoil("journal/0", at: records[2].lowerBound + 60)
        let again = try directory.open()
        #expect(try directory.queued() == [first, ids[0]])
        await again.close()
    }

    /// A record that is missing at the end of a segment that another one followed.
    @Test func tearInAFormerSegmentStopsTheStart() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open(segment: 64 << 10)
        let text = String(repeating: "x", count: 10_000)
        for _ in 0..<7 { _ = try await spool.add(text) }
        directory.kill(spool)
        let records = try directory.records()
        #expect(try !directory.records(1).isEmpty)
        let last = try #require(records.last)
        try directory.spoil("journal/0", at: last.lowerBound + 100)
        let text2 = "journal/0 ends at octet \(last.lowerBound) instead of \(last.upperBound)"
        #expect(throws: SpoolError.corrupt(text2)) { try directory.open(segment: 64 << 10) }
        #expect(try directory.queued().isEmpty)
        try directory.spoil("journal/0", at: last.lowerBound + 100)
        let again = try directory.open(segment: 64 << 10)
        #expect(try directory.queued().count == 7)
        await again.close()
    }

    @Test func journalOfTheFirstFormatIsRead() async throws {
        let directory = TemporarySpool()
        await (try directory.open()).close()
        let ids = (0..<3).map { MessageID(time: 1_795_447_200_000_000, random: UInt64($0)) }
        var block = ByteBuffer(string: "martlet journal 1\n")
        block.writeMultipleIntegers(UInt64(700), UInt64(700))
        var checksum = Checksum()
        checksum.add(block)
        block.writeInteger(checksum.value)
        block.writeRepeatingByte(0, count: JournalSegment.start - block.readableBytes)
        func operation(_ kind: UInt8, _ id: MessageID, _ octets: String) -> ByteBuffer {
            var buffer = ByteBuffer(integer: kind)
            buffer.writeMultipleIntegers(id.time, id.random, UInt32(octets.utf8.count))
            buffer.writeString(octets)
            return buffer
        }
        func add(_ payload: ByteBuffer) {
            var checksum = Checksum()
            checksum.add(ByteBuffer(integer: UInt32(payload.readableBytes)))
            checksum.add(ByteBuffer(integer: UInt64(700)))
            checksum.add(payload)
            block.writeMultipleIntegers(UInt32(payload.readableBytes), checksum.value, UInt64(700))
            block.writeImmutableBuffer(payload)
        }
        for id in ids {
            let head = "id: \(id)\narrived: 1\nsender: <>\nrecipient: <b@example.test>\noctets: 000000000005\n"
            var checksum = Checksum()
            checksum.add("hello")
            checksum.add(head)
            add(operation(1, id, "\(head)checksum: \(checksum.text)\n\nhello"))
        }
        add(operation(2, ids[0], StateEntry.delivered(1).line))
        add(operation(3, ids[1], ""))
        try directory.write(block, to: "journal/0")

        let spool = try directory.open()
        #expect(try directory.queued() == [ids[0], ids[2]])
        #expect(try spool.text(of: ids[0]) == "hello")
        #expect(try spool.state(of: ids[0]) == [.delivered(1)])
        // What is written from now on has the other format.
        let id = try await spool.add("new")
        directory.kill(spool)
        let again = try directory.open()
        #expect(try directory.queued() == [ids[0], ids[2], id])
        await again.close()
    }

    @Test func transactionThatFitsNoSegmentIsRefused() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open(segment: 64 << 10)
        let error = SpoolError.failed("write 70045 octets to the journal", code: EFBIG)
        let id = spool.makeID()
        await #expect(throws: error) {
            try await spool.commitDurably([.put(id, file: ByteBuffer(repeating: 0x61, count: 70_000))])
        }
        #expect(spool.fileInMemory(id) == nil)
        // As large as it may be.
        let largest = (64 << 10) - JournalSegment.start - 45
        try await spool.commitDurably([.state(id, lines: ByteBuffer(repeating: 0x0a, count: largest))])
        let other = try await spool.add("hello")
        directory.kill(spool)
        let again = try directory.open(segment: 64 << 10)
        #expect(try again.text(of: other) == "hello")
        await again.close()
    }

    /// A batch must not run over the segment's end.
    @Test func batchesFitTheirSegments() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open(segment: 64 << 10)
        let workers = directory.workers
        workers.mode = .stepped
        var ids: Set<MessageID> = []
        for length in [14_000, 50_000, 14_000, 2000, 14_000, 45_000] {
            let id = spool.makeID()
            ids.insert(id)
            spool.commit([try spool.put(id, String(repeating: "x", count: length))])
        }
        workers.mode = .immediate
        directory.kill(spool)
        let again = try directory.open(segment: 64 << 10)
        #expect(try directory.queued() == ids)
        for id in ids { _ = try again.text(of: id) }
        await again.close()
    }

    @Test func segmentsOfAnotherSizeAreMadeAnew() async throws {
        let directory = TemporarySpool()
        var ids: Set<MessageID> = []
        for segment in [64 << 10, 128 << 10, 96 << 10] {
            let spool = try directory.open(segment: segment)
            #expect(try directory.read("journal/0").readableBytes == segment)
            for _ in 0..<20 { ids.insert(try await spool.add(String(repeating: "x", count: 8000))) }
            directory.kill(spool)
        }
        let spool = try directory.open(segment: 64 << 10)
        #expect(try directory.queued() == ids)
        await spool.close()
    }

    /// What is no segment by its name is left alone, and not calculated with.
    @Test func filesOfOtherNamesAreNoSegments() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello")
        directory.kill(spool)
        let root = try directory.disk.open("\(directory.path)/journal", in: nil, [.reading, .directory], mode: 0)
        defer { directory.disk.close(root) }
        for name in ["9223372036854775807", "2147483648", "+1", "07", "-1", "x"] {
            directory.disk.close(try directory.disk.open(name, in: root, [.writing, .creating], mode: 0o600))
        }
        let again = try directory.open()
        #expect(try again.text(of: id) == "hello")
        await again.close()
    }

    /// A file of the journal that is not there doesn't hide those behind it.
    @Test func gapAmongTheSegmentsHidesNothing() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open(segment: 64 << 10)
        let text = String(repeating: "x", count: 10_000)
        for _ in 0..<7 { _ = try await spool.add(text) }
        directory.file()
        let second = try await spool.add(text)
        directory.kill(spool)
        #expect(try !directory.records(1).isEmpty)
        try directory.remove("journal/0")
        let again = try directory.open(segment: 64 << 10)
        #expect(try again.text(of: second) == text)
        for _ in 0..<30 { _ = try await again.add(text) }
        await again.close()
        #expect(try directory.queued().count == 38)
    }
}
