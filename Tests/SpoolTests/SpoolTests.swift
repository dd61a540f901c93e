import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import Spool

#if canImport(Glibc)
import Glibc
#endif

@Suite struct SpoolTests {
    @Test func messageIsThereAfterReopening() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        #expect(try spool.text(of: id) == "hello\r\n")
        await spool.close()
        let again = try directory.open()
        #expect(try again.messages(shard: id.shard) == [id])
        #expect(try again.text(of: id) == "hello\r\n")
        await again.close()
    }

    @Test func finishedMessageIsGone() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        try await spool.commitAndApply([.state(id, lines: ByteBuffer(string: "x\n"))])
        try await spool.commitAndApply([.done(id)])
        #expect(throws: SpoolError.missing) { try spool.head(of: id, verified: false) }
        #expect(try spool.state(of: id) == [])
        await spool.close()
        #expect(try directory.queued().isEmpty)
    }

    /// As after a kill behind the sync and before the file was made: the journal alone has the message.
    @Test func lostAndTornFilesComeBackFromTheJournal() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let lost = try await spool.add("lost\r\n")
        let torn = try await spool.add("torn\r\n")
        let finished = try await spool.add("finished\r\n")
        try await spool.commitAndApply([.done(finished)])
        await spool.close()
        #expect(unlink("\(directory.path)/queue/\(lost.path)") == 0)
        #expect(truncate("\(directory.path)/queue/\(torn.path)", 20) == 0)
        let again = try directory.open()
        #expect(try again.text(of: lost) == "lost\r\n")
        #expect(try again.text(of: torn) == "torn\r\n")
        #expect(throws: SpoolError.missing) { try again.head(of: finished, verified: false) }
        await again.close()
    }

    @Test func journalTornAtEveryOctetKeepsWholeTransactions() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        var ends: [(Int, Set<MessageID>)] = [(0, [])]
        var alive: Set<MessageID> = []
        var length = 0
        for step in 0..<6 {
            var operations: [SpoolOperation] = []
            if step % 3 == 2, let last = alive.max() {
                operations = [.done(last), .put(spool.makeID(), file: ByteBuffer())]
                alive.remove(last)
            } else {
                operations = [.put(spool.makeID(), file: ByteBuffer()), .put(spool.makeID(), file: ByteBuffer())]
            }
            operations = operations.map { operation in
                guard case .put(let id, _) = operation else { return operation }
                alive.insert(id)
                let envelope = MessageEnvelope(id: id, arrived: 1, sender: "<>", recipients: ["<b@example.test>"])
                return .put(id, file: QueueFile.encode(envelope, message: ByteBuffer(string: "\(step)")).file)
            }
            var record = ByteBuffer()
            _ = JournalRecord.append(operations, to: &record)
            length += record.readableBytes
            ends.append((length, alive))
            try await spool.commitAndApply(operations)
        }
        await spool.close()

        let segment = try directory.files
        defer { segment.close() }
        let descriptor = openat(segment.root, "journal/0", O_RDONLY)
        defer { close(descriptor) }
        let journal = try SpoolFiles.read(descriptor, at: JournalSegment.start, maximum: length)
        let generation = try #require(try JournalSegment(descriptor: descriptor, size: 2 << 20).header()?.generation)
        for cut in 0...length {
            var torn = try #require(journal.getSlice(at: 0, length: cut))
            // What an older use of the segment left behind the tear.
            torn.writeRepeatingByte(UInt8(truncatingIfNeeded: cut), count: 64)
            var found: Set<MessageID> = []
            while let operations = JournalRecord.next(from: &torn, generation: generation) {
                for operation in operations {
                    switch operation {
                    case .put(let id, _): found.insert(id)
                    case .done(let id): found.remove(id)
                    default: break
                    }
                }
            }
            let expected = try #require(ends.last { $0.0 <= cut }?.1)
            #expect(found == expected, "cut at \(cut)")
        }
    }

    /// The same with the real files, at some lengths.
    @Test func spoolOpensWithATornJournal() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let first = try await spool.add("first\r\n")
        let second = try await spool.add("second\r\n")
        await spool.close()
        for id in [first, second] { unlink("\(directory.path)/queue/\(id.path)") }
        let descriptor = Glibc.open("\(directory.path)/journal/0", O_RDWR)
        // The last record lost its last octets.
        let size = try #require(try recordLengths(descriptor).last)
        #expect(pwrite(descriptor, [UInt8](repeating: 0, count: 5), 5, off_t(size - 5)) == 5)
        close(descriptor)
        let again = try directory.open()
        #expect(try again.text(of: first) == "first\r\n")
        #expect(throws: SpoolError.missing) { try again.head(of: second, verified: true) }
        await again.close()
    }

    private func recordLengths(_ descriptor: CInt) throws -> [Int] {
        var ends: [Int] = []
        var offset = JournalSegment.start
        while let length = try SpoolFiles.read(descriptor, at: offset, maximum: 4).getInteger(at: 0, as: UInt32.self),
            length > 0
        {
            offset += JournalRecord.header + Int(length)
            ends.append(offset)
        }
        return ends
    }

    @Test func segmentsAreUsedAgainAndNothingRises() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let text = String(repeating: "x", count: 60_000)
        let early = try await spool.add("early")
        var kept: Set<MessageID> = [early]
        for round in 0..<200 {
            let id = try await spool.add(text)
            if round % 20 == 0 { kept.insert(id) } else { try await spool.commitAndApply([.done(id)]) }
        }
        await spool.close()
        #expect(try directory.queued() == kept)
        for _ in 0..<2 {
            let again = try directory.open()
            #expect(try directory.queued() == kept)
            #expect(try again.text(of: early) == "early")
            await again.close()
        }
    }

    @Test func stateLinesAreNotDoubledByReplays() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello")
        let first = StateEntry(time: 1, recipient: 1, event: .delivered(status: "2.0.0"), text: "ok")
        let second = StateEntry(time: 2, recipient: 2, event: .failed(status: "5.0.0"), text: "no")
        try await spool.commitAndApply([.state(id, lines: ByteBuffer(string: first.line))])
        try await spool.commitAndApply([.state(id, lines: ByteBuffer(string: second.line))])
        await spool.close()
        let path = "\(directory.path)/state/\(id.path)"
        #expect(truncate(path, off_t(first.line.utf8.count + 9)) == 0)
        for _ in 0..<3 {
            let again = try directory.open()
            #expect(try again.state(of: id) == [first, second])
            await again.close()
        }
    }

    @Test func transactionsOfManyTasksAllArrive() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let ids = try await withThrowingTaskGroup(of: MessageID.self) { group in
            for number in 0..<500 { group.addTask { try await spool.add("message \(number)") } }
            return try await group.reduce(into: Set<MessageID>()) { $0.insert($1) }
        }
        #expect(ids.count == 500)
        await spool.close()
        #expect(try directory.queued() == ids)
    }

    @Test func largeMessageIsStreamed() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = spool.makeID()
        let message = try spool.begin(
            MessageEnvelope(id: id, arrived: 1, sender: "<>", recipients: ["<b@example.test>"])
        )
        for _ in 0..<40 { try message.append(ByteBuffer(repeating: 0x61, count: 65536)) }
        #expect(throws: SpoolError.missing) { try spool.head(of: id, verified: false) }
        let (offset, octets) = try message.finish()
        #expect(octets == 40 * 65536)
        let head = try spool.head(of: id, verified: true)
        #expect(head.offset == offset)
        #expect(head.octets == octets)

        let abandoned = spool.makeID()
        let other = try spool.begin(
            MessageEnvelope(id: abandoned, arrived: 1, sender: "<>", recipients: ["<b@example.test>"])
        )
        try other.append(ByteBuffer(string: "half"))
        await spool.close()
        let again = try directory.open()
        #expect(access("\(directory.path)/incoming/\(abandoned)", F_OK) != 0)
        #expect(try again.head(of: id, verified: true) == head)
        await again.close()
    }

    @Test func corruptMessageIsFoundAndPutAway() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello, world\r\n")
        let path = "\(directory.path)/queue/\(id.path)"
        let descriptor = Glibc.open(path, O_RDWR)
        let size = lseek(descriptor, 0, SEEK_END)
        #expect(pwrite(descriptor, "X", 1, size - 5) == 1)
        close(descriptor)
        #expect(throws: SpoolError.corrupt("the checksum is wrong")) { try spool.head(of: id, verified: true) }
        #expect(truncate(path, 30) == 0)
        #expect(throws: SpoolError.self) { try spool.head(of: id, verified: true) }
        try spool.setCorrupt(id)
        await spool.close()
        #expect(try directory.queued().isEmpty)
        #expect(access("\(directory.path)/corrupt/\(id)", F_OK) == 0)
        let again = try directory.open()
        #expect(try directory.queued().isEmpty)
        await again.close()
    }

    @Test func heldMessageStaysHeld() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        try spool.setHeld(id, true)
        #expect(try spool.heldMessages() == [id])
        await spool.close()
        let again = try directory.open()
        #expect(try again.heldMessages() == [id])
        #expect(try directory.queued().isEmpty)
        try again.setHeld(id, false)
        #expect(try again.text(of: id) == "hello\r\n")
        try again.setHeld(id, true)
        try await again.commitAndApply([.done(id)])
        #expect(try again.heldMessages().isEmpty)
        await again.close()
    }

    @Test func deliverersCanReadButNotList() async throws {
        let directory = TemporarySpool()
        let before = umask(0o022)
        defer { umask(before) }
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        var info = stat()
        #expect(stat("\(directory.path)/queue/\(id.path)", &info) == 0)
        #expect(info.st_mode & 0o777 == 0o644)
        #expect(stat("\(directory.path)/queue", &info) == 0)
        #expect(info.st_mode & 0o777 == 0o711)
        #expect(stat("\(directory.path)/queue/\(id.path.prefix(2))", &info) == 0)
        #expect(info.st_mode & 0o777 == 0o711)
        #expect(stat(directory.path, &info) == 0)
        #expect(info.st_mode & 0o777 == 0o700)
        await spool.close()
    }

    @Test func fullDiskLeavesNothingBehind() async throws {
        guard getuid() == 0 else { return }
        let directory = TemporarySpool()
        #expect(mkdir(directory.path, 0o700) == 0)
        guard mount("tmpfs", directory.path, "tmpfs", 0, "size=16m") == 0 else { return }
        defer { umount2(directory.path, CInt(MNT_DETACH)) }
        let spool = try directory.open()
        #expect(spool.hasSpace(for: 1000))
        let kept = try await spool.add("kept")
        let id = spool.makeID()
        let message = try spool.begin(
            MessageEnvelope(id: id, arrived: 1, sender: "<>", recipients: ["<b@example.test>"])
        )
        #expect(throws: SpoolError.full) {
            for _ in 0..<1000 { try message.append(ByteBuffer(repeating: 0x61, count: 65536)) }
        }
        #expect(access("\(directory.path)/incoming/\(id)", F_OK) != 0)
        #expect(spool.hasSpace(for: 1000))
        #expect(!spool.hasSpace(for: 20 << 20))
        #expect(try spool.text(of: kept) == "kept")
        await spool.close()
    }
}
