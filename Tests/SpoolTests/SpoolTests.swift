import Files
import NIOCore
import NIOPosix
import SpoolSimulation
import Testing

@testable import Spool

#if canImport(Glibc)
import Glibc
#endif

@Suite struct SpoolTests {
    @Test func messageIsThereAfterReopening() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n", added: "Received: x\r\n")
        #expect(try spool.text(of: id) == "hello\r\n")
        await spool.close()
        let again = try directory.open()
        #expect(try again.messages(shard: id.shard) == [id])
        let content = try again.content(of: id, verified: true, messageLimit: 7)
        #expect(content.message == ByteBuffer(string: "hello\r\n"))
        #expect(content.added == ByteBuffer(string: "Received: x\r\n"))
        #expect(try content.head.envelope == .some(id))
        #expect(try again.content(of: id, verified: false, messageLimit: 6).message == nil)
        await again.close()
    }

    @Test func finishedMessageIsGone() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        directory.file()
        try await spool.commitDurably([.state(id, lines: StateEntry.delivered(1).octets)])
        #expect(directory.exists("queue/\(id.path)") && directory.exists("state/\(id.path)"))
        try await spool.commitDurably([.done(id)])
        #expect(throws: SpoolError.missing) { try spool.content(of: id, verified: false) }
        #expect(try spool.state(of: id) == [])
        #expect(!directory.exists("queue/\(id.path)") && !directory.exists("state/\(id.path)"))
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
        try await spool.commitDurably([.done(finished)])
        await spool.close()
        try directory.remove("queue/\(lost.path)")
        try directory.truncate("queue/\(torn.path)", to: 20)
        let again = try directory.open()
        #expect(try again.text(of: lost) == "lost\r\n")
        #expect(try again.text(of: torn) == "torn\r\n")
        #expect(throws: SpoolError.missing) { try again.content(of: finished, verified: false) }
        await again.close()
    }

    @Test func segmentsAreUsedAgainAndNothingRises() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let text = String(repeating: "x", count: 60_000)
        let early = try await spool.add("early")
        var kept: Set<MessageID> = [early]
        for round in 0..<200 {
            let id = try await spool.add(text)
            if round % 20 == 0 { kept.insert(id) } else { try await spool.commitDurably([.done(id)]) }
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
        let (first, second) = (StateEntry.delivered(1, "ok"), StateEntry.delivered(2, "no"))
        try await spool.commitDurably([.state(id, lines: first.octets)])
        directory.file()
        try await spool.commitDurably([.state(id, lines: second.octets)])
        await spool.close()
        try directory.truncate("state/\(id.path)", to: first.line.utf8.count + 9)
        for _ in 0..<3 {
            let again = try directory.open()
            #expect(try again.state(of: id) == [first, second])
            await again.close()
        }
    }

    /// With threads, as a daemon has it.
    @Test func transactionsOfManyTasksAllArrive() async throws {
        let directory = TemporarySpool()
        let threads = SpoolThreads(loop: MultiThreadedEventLoopGroup.singleton.next())
        let spool = try directory.open(segment: 2 << 20, memory: 1 << 20, on: threads)
        let text = String(repeating: "x", count: 8000)
        let ids = try await withThrowingTaskGroup(of: MessageID.self) { group in
            for number in 0..<1000 {
                group.addTask {
                    let id = try await spool.add("\(number) \(text)")
                    if number % 2 == 0 { try await spool.commitDurably([.done(id)]) }
                    return id
                }
            }
            return try await group.reduce(into: Set<MessageID>()) { $0.insert($1) }
        }
        #expect(ids.count == 1000)
        await spool.close()
        let left = try directory.queued()
        #expect(left.count == 500)
        #expect(left.isSubset(of: ids))
    }

    @Test func largeMessageIsStreamed() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = spool.makeID()
        let message = try spool.begin(try .some(id))
        for _ in 0..<40 { try message.append(ByteBuffer(repeating: 0x61, count: 65536)) }
        #expect(throws: SpoolError.missing) { try spool.content(of: id, verified: false) }
        let made = try message.finish(added: ByteBuffer(string: "Received: x\r\n"))
        #expect(made.octets == 40 * 65536 && made.added == 13)
        let content = try spool.content(of: id, verified: true, messageLimit: 65536)
        #expect(content.head.offset == made.offset)
        #expect(content.head.octets == made.octets)
        #expect(content.added == ByteBuffer(string: "Received: x\r\n"))
        #expect(content.message == nil)
        let piece = try spool.piece(of: id, (made.offset, made.octets), at: 39 * 65536 + 1, maximum: 1 << 20)
        #expect(piece == ByteBuffer(repeating: 0x61, count: 65535))
        #expect(try spool.piece(of: id, (made.offset, made.octets), at: made.octets, maximum: 10).readableBytes == 0)

        let abandoned = spool.makeID()
        let other = try spool.begin(try .some(abandoned))
        try other.append(ByteBuffer(string: "half"))
        directory.kill(spool)
        #expect(directory.exists("incoming/\(abandoned)"))
        let again = try directory.open()
        #expect(!directory.exists("incoming/\(abandoned)"))
        #expect(try again.content(of: id, verified: true).head == content.head)
        withExtendedLifetime(other) {}
        await again.close()
    }

    @Test func discardedMessageLeavesNothing() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = spool.makeID()
        let message = try spool.begin(try .some(id))
        try message.append(ByteBuffer(string: "half"))
        message.discard()
        #expect(!directory.exists("incoming/\(id)"))
        #expect(throws: SpoolError.missing) { try message.append(ByteBuffer(string: "more")) }
        #expect(throws: SpoolError.missing) { try message.finish(added: ByteBuffer()) }
        #expect(try directory.queued().isEmpty)
        await spool.close()
    }

    @Test func corruptMessageIsFoundAndPutAway() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello, world\r\n", added: "Received: x\r\n")
        directory.file()
        let path = "queue/\(id.path)"
        let size = try directory.read(path).readableBytes
        for place in [size - 2, size - 20] {
            try directory.spoil(path, at: place)
            #expect(throws: SpoolError.corrupt("the checksum is wrong")) { try spool.content(of: id, verified: true) }
            try directory.spoil(path, at: place)
        }
        try directory.truncate(path, to: size - 5)
        #expect(throws: SpoolError.corrupt("5 octets are missing")) { try spool.content(of: id, verified: true) }
        #expect(throws: SpoolError.corrupt("the added block is cut")) { try spool.content(of: id, verified: false) }
        try directory.truncate(path, to: 30)
        #expect(throws: SpoolError.self) { try spool.content(of: id, verified: true) }
        try await spool.setCorrupt(id)
        await spool.close()
        #expect(try directory.queued().isEmpty)
        #expect(directory.exists("corrupt/\(id)"))
        let again = try directory.open()
        #expect(try directory.queued().isEmpty)
        #expect(directory.exists("corrupt/\(id)"))
        await again.close()
    }

    @Test func heldMessageStaysHeld() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        directory.file()
        try await spool.setHeld(id, true)
        #expect(try spool.heldMessages() == [id])
        await spool.close()
        let again = try directory.open()
        #expect(try again.heldMessages() == [id])
        #expect(try directory.queued().isEmpty)
        try await again.setHeld(id, false)
        #expect(try again.text(of: id) == "hello\r\n")
        try await again.setHeld(id, true)
        try await again.commitDurably([.done(id)])
        #expect(try again.heldMessages().isEmpty)
        await #expect(throws: SpoolError.missing) { try await again.setHeld(id, true) }
        await again.close()
    }

    /// Who reads need not know what the administrator does meanwhile.
    @Test func messageIsReadWhereverItIs() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        directory.file()
        for isHeld in [true, false, false, true] {
            try await spool.setHeld(id, isHeld)
            for isExpected in [true, false] {
                let content = try spool.content(of: id, isHeld: isExpected, verified: true, messageLimit: 100)
                #expect(content.isHeld == isHeld)
                #expect(content.message == ByteBuffer(string: "hello\r\n"))
                let head = (content.head.offset, content.head.octets)
                let piece = try spool.piece(of: id, head, at: 1, maximum: 3, isHeld: isExpected)
                #expect(piece == ByteBuffer(string: "ell"))
            }
        }
        await spool.close()
    }

    @Test func nobodyElseCanRead() async throws {
        let directory = TemporarySpool()
        let before = umask(0)
        defer { umask(before) }
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        try await spool.commitDurably([.note(id, lines: StateEntry.deferred(1).octets)])
        func permissions(_ path: String) throws -> UInt32 {
            try directory.disk.status("\(directory.path)/\(path)", in: nil).permissions
        }
        for path in ["queue/\(id.path)", "state/\(id.path)", "journal/0", "lock"] {
            #expect(try permissions(path) == 0o600, "\(path)")
        }
        for path in ["", "queue", "queue/\(id.path.prefix(2))", "state", "incoming", "hold", "corrupt", "journal"] {
            #expect(try permissions(path) == 0o700, "\(path)")
        }
        await spool.close()
    }

    @Test func workIsDoneForOthers() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        let text = try await spool.perform { (spool) throws(SpoolError) in try spool.text(of: id) }
        #expect(text == "hello\r\n")
        let other = spool.makeID()
        await #expect(throws: SpoolError.missing) {
            try await spool.perform { (spool) throws(SpoolError) in try spool.text(of: other) }
        }
        await spool.close()
    }

    @Test func whenAppliedComesBehindWhatWasCommitted() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let workers = directory.workers
        let id = try await spool.add("hello\r\n")
        directory.file()
        workers.mode = .stepped
        spool.commit([.state(id, lines: StateEntry.delivered(1).octets)])
        spool.whenApplied { #expect(directory.exists("state/\(id.path)")) }
        workers.mode = .immediate
        #expect(directory.exists("state/\(id.path)"))
        await spool.close()
    }

    @Test func fullDiskLeavesNothingBehind() async throws {
        guard getuid() == 0 else { return }
        let directory = TemporarySpool()
        #expect(mkdir(directory.path, 0o700) == 0)
        guard mount("tmpfs", directory.path, "tmpfs", 0, "size=16m") == 0 else { return }
        defer { umount2(directory.path, CInt(MNT_DETACH)) }
        let spool = try directory.open()
        try spool.requireSpace(for: 1000)
        let kept = try await spool.add("kept")
        let id = spool.makeID()
        let message = try spool.begin(try .some(id))
        #expect(throws: SpoolError.full) {
            for _ in 0..<1000 { try message.append(ByteBuffer(repeating: 0x61, count: 65536)) }
        }
        #expect(!directory.exists("incoming/\(id)"))
        try spool.requireSpace(for: 1000)
        #expect(throws: SpoolError.full) { try spool.requireSpace(for: 20 << 20) }
        #expect(try spool.text(of: kept) == "kept")
        await spool.close()
    }
}
