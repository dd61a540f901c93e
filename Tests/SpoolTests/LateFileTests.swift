import Files
import NIOConcurrencyHelpers
import NIOCore
import SimulatedDisk
import SpoolSimulation
import Testing

@testable import Spool

#if canImport(Glibc)
import Glibc
#endif

/// Messages that are in the journal and in memory, and have no file yet.
@Suite struct LateFileTests {
    @Test func messageWithoutFileIsReadable() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n", added: "Received: x\r\n")
        #expect(try directory.queued().isEmpty)
        let content = try spool.content(of: id, verified: true, messageLimit: 100)
        #expect(try content.head.envelope == .some(id))
        #expect(content.message == ByteBuffer(string: "hello\r\n"))
        #expect(content.added == ByteBuffer(string: "Received: x\r\n"))
        #expect(!content.isHeld)
        #expect(try spool.content(of: id, verified: true, messageLimit: 6).message == nil)
        let head = (content.head.offset, content.head.octets)
        #expect(try spool.piece(of: id, head, at: 2, maximum: 3) == ByteBuffer(string: "llo"))
        #expect(try spool.piece(of: id, head, at: 5, maximum: 100) == ByteBuffer(string: "\r\n"))
        #expect(spool.fileInMemory(id) != nil)
        await spool.close()
        #expect(try directory.queued() == [id])
    }

    @Test func messageGetsItsFileWithAge() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let first = try await spool.add("first")
        directory.workers.advance(milliseconds: 2500)
        let second = try await spool.add("second")
        directory.workers.advance(milliseconds: 500)
        #expect(try directory.queued().isEmpty)
        directory.workers.advance(milliseconds: 1500)
        #expect(try directory.queued() == [first])
        #expect(spool.fileInMemory(first) == nil)
        #expect(spool.fileInMemory(second) != nil)
        directory.workers.advance(milliseconds: 3000)
        #expect(try directory.queued() == [first, second])
        #expect(try spool.text(of: first) == "first")
        // The clock goes again for the next one.
        let third = try await spool.add("third")
        directory.workers.advance(milliseconds: 5000)
        #expect(try directory.queued() == [first, second, third])
        await spool.close()
    }

    @Test func noteMakesTheFile() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello")
        try await spool.commitDurably([.state(id, lines: StateEntry.delivered(2).octets)])
        #expect(try directory.queued().isEmpty)
        try await spool.commitDurably([.note(id, lines: StateEntry.deferred(1).octets)])
        #expect(try directory.queued() == [id])
        #expect(directory.exists("state/\(id.path)"))
        #expect(spool.fileInMemory(id) == nil)
        #expect(try spool.state(of: id) == [.delivered(2), .deferred(1)])
        await spool.close()
    }

    @Test func memoryIsShared() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open(memory: 200_000)
        var ids: [MessageID] = []
        let text = String(repeating: "x", count: 30_000)
        for _ in 0..<30 {
            ids.append(try await spool.add(text))
            let held = ids.filter { spool.fileInMemory($0) != nil }
            // The youngest stay.
            #expect(held == Array(ids.suffix(held.count)))
            #expect(held.count <= 6)
        }
        #expect(try directory.queued().count >= 24)
        for id in ids { #expect(try spool.text(of: id) == text) }
        await spool.close()
        #expect(try directory.queued() == Set(ids))
    }

    @Test func fileIsMadeBeforeTheSegmentIsUsedAgain() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open(segment: 64 << 10)
        let early = try await spool.add("early")
        #expect(try directory.queued().isEmpty)
        let text = String(repeating: "x", count: 5000)
        for _ in 0..<60 {
            let id = try await spool.add(text)
            try await spool.commitDurably([.done(id)])
        }
        #expect(try directory.queued() == [early])
        directory.kill(spool)
        let again = try directory.open(segment: 64 << 10)
        #expect(try again.text(of: early) == "early")
        #expect(try directory.queued() == [early])
        await again.close()
    }

    @Test func whatIsDoneBeforeItWasFiledLeavesNothing() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        for _ in 0..<10 {
            let id = try await spool.add("hello")
            try await spool.commitDurably([.state(id, lines: StateEntry.delivered(1).octets)])
            try await spool.commitDurably([.done(id)])
            #expect(throws: SpoolError.missing) { try spool.text(of: id) }
            #expect(try spool.state(of: id).isEmpty)
        }
        directory.file()
        // Not even a directory.
        #expect(try directory.disk.names("\(directory.path)/queue", in: nil).isEmpty)
        #expect(try directory.disk.names("\(directory.path)/state", in: nil).isEmpty)
        directory.kill(spool)
        let again = try directory.open()
        #expect(try directory.queued().isEmpty)
        await again.close()
    }

    @Test func stateOfAMessageWithoutFileIsKept() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello")
        try await spool.commitDurably([.state(id, lines: StateEntry.delivered(1).octets)])
        try await spool.commitDurably([.state(id, lines: StateEntry.delivered(2).octets)])
        #expect(try spool.state(of: id) == [.delivered(1), .delivered(2)])
        #expect(!directory.exists("state/\(id.path)"))
        directory.kill(spool)
        for _ in 0..<2 {
            let again = try directory.open()
            #expect(try again.state(of: id) == [.delivered(1), .delivered(2)])
            #expect(try again.text(of: id) == "hello")
            directory.kill(again)
        }
    }

    @Test func allThatWasCommittedIsThereAfterAKill() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        var texts: [MessageID: String] = [:]
        for number in 0..<50 {
            let id = try await spool.add("message \(number)")
            if number % 3 == 0 { try await spool.commitDurably([.done(id)]) } else { texts[id] = "message \(number)" }
            if number % 20 == 19 { directory.file() }
        }
        directory.kill(spool)
        let again = try directory.open()
        #expect(try directory.queued() == Set(texts.keys))
        for (id, text) in texts { #expect(try again.text(of: id) == text) }
        await again.close()
    }

    /// A report and the end of what it's about are one transaction.
    @Test func transactionIsWhole() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello")
        let report = spool.makeID()
        try await spool.commitDurably([try spool.put(report, "report"), .done(id)])
        directory.kill(spool)
        let again = try directory.open()
        #expect(try directory.queued() == [report])
        #expect(try again.text(of: report) == "report")
        await again.close()
    }

    @Test func messageWithoutFileCanBeHeld() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello")
        try await spool.commitDurably([.state(id, lines: StateEntry.delivered(1).octets)])
        try await spool.setHeld(id, true)
        #expect(try spool.heldMessages() == [id])
        #expect(spool.fileInMemory(id) == nil)
        #expect(try spool.content(of: id, verified: true).isHeld)
        #expect(try spool.state(of: id) == [.delivered(1)])
        directory.kill(spool)
        let again = try directory.open()
        #expect(try again.heldMessages() == [id])
        #expect(try directory.queued().isEmpty)
        #expect(try again.text(of: id, isHeld: true) == "hello")
        await again.close()
    }

    @Test func messageWithoutFileCanBePutAway() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello")
        try await spool.setCorrupt(id)
        #expect(directory.exists("corrupt/\(id)"))
        #expect(throws: SpoolError.missing) { try spool.text(of: id) }
        directory.kill(spool)
        let again = try directory.open()
        #expect(directory.exists("corrupt/\(id)"))
        #expect(try directory.queued().isEmpty)
        await again.close()
    }

    @Test func fileThatCannotBeMadeIsTriedAgain() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        let directory = TemporarySpool(disk)
        let spool = try directory.open(segment: 64 << 10)
        let id = try await spool.add("hello")
        let isQueue = { @Sendable (path: String) in path.contains("queue/") }
        disk.start(FaultPlan(faults: [.init(.growing, code: ENOSPC, path: isQueue)]))
        directory.file()
        #expect(directory.late == [id])
        #expect(try spool.text(of: id) == "hello")
        // What comes meanwhile is read as well.
        try await spool.commitDurably([.state(id, lines: StateEntry.delivered(1).octets)])
        try await spool.commitDurably([.note(id, lines: StateEntry.deferred(2).octets)])
        #expect(try spool.state(of: id) == [.delivered(1), .deferred(2)])
        await #expect(throws: SpoolError.full) { try await spool.setHeld(id, true) }
        disk.start()
        directory.workers.advance(milliseconds: 1500)
        #expect(try directory.queued() == [id])
        #expect(spool.fileInMemory(id) == nil)
        #expect(try spool.state(of: id) == [.delivered(1), .deferred(2)])
        try await spool.setHeld(id, true)
        await spool.close()
        #expect(directory.failures.isEmpty)
    }

    @Test func whatIsDoneWhileItsFileIsLateIsGone() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        let directory = TemporarySpool(disk)
        let spool = try directory.open(segment: 64 << 10)
        let id = try await spool.add("hello")
        let isQueue = { @Sendable (path: String) in path.contains("queue/") }
        disk.start(FaultPlan(faults: [.init(.growing, code: ENOSPC, path: isQueue)]))
        directory.file()
        try await spool.commitDurably([.state(id, lines: StateEntry.delivered(1).octets)])
        try await spool.commitDurably([.done(id)])
        disk.start()
        directory.workers.advance(milliseconds: 5000)
        #expect(try directory.queued().isEmpty)
        #expect(!directory.exists("state/\(id.path)"))
        await spool.close()
    }

    /// While files can't be made the journal keeps what it has, and takes nothing more once it's full.
    @Test func fullDiskStopsTheWriterAndLosesNothing() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        let directory = TemporarySpool(disk)
        let spool = try directory.open(segment: 64 << 10)
        let workers = directory.workers
        disk.start(
            FaultPlan(faults: [
                .init(.growing, code: ENOSPC, path: { !$0.contains("journal/0") && !$0.contains("journal/1") })
            ])
        )
        let text = String(repeating: "x", count: 5000)
        let durable = NIOLockedValueBox<[MessageID]>([])
        var ids: [MessageID] = []
        for _ in 0..<100 {
            let id = spool.makeID()
            ids.append(id)
            spool.commit([try spool.put(id, text)]) { error in
                if error == nil { durable.withLockedValue { $0.append(id) } }
            }
        }
        let acknowledged = durable.withLockedValue { $0 }
        #expect(acknowledged.count >= 10 && acknowledged.count < 30)
        for id in acknowledged { #expect(try spool.text(of: id) == text) }
        #expect(directory.failures.isEmpty)
        // Room again: all goes on.
        disk.start()
        workers.advance(milliseconds: 2000)
        #expect(durable.withLockedValue { $0 } == ids)
        await spool.close()
        #expect(try directory.queued() == Set(ids))
    }

    @Test func closeDoesNotWaitForAFullDisk() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        let directory = TemporarySpool(disk)
        let spool = try directory.open(segment: 64 << 10)
        let id = try await spool.add("hello")
        let isQueue = { @Sendable (path: String) in path.contains("queue/") }
        disk.start(FaultPlan(faults: [.init(.growing, code: ENOSPC, path: isQueue)]))
        let workers = directory.workers
        await spool.close()
        let calls = disk.callCount
        workers.advance(milliseconds: 10_000)
        #expect(disk.callCount == calls)
        #expect(throws: SpoolError.full) { try directory.open(segment: 64 << 10) }
        disk.start()
        let again = try directory.open(segment: 64 << 10)
        #expect(try again.text(of: id) == "hello")
        await again.close()
    }
}
