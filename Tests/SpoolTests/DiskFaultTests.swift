import Files
import NIOCore
import SimulatedDisk
import SpoolSimulation
import Testing

@testable import Spool

#if canImport(Glibc)
import Glibc
#endif

/// What can't be read is an error: never the end of a file, an empty directory, or nothing there.
@Suite struct DiskFaultTests {
    @Test func journalThatCannotBeReadIsKept() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("acknowledged\r\n")
        await spool.close()
        try directory.remove("queue/\(id.path)")
        let (segment, saved) = ("\(directory.path)/journal/0", "\(directory.path)/saved")
        #expect(rename(segment, saved) == 0)
        // Reading the first octets of a process's memory is EIO.
        #expect(symlink("/proc/self/mem", segment) == 0)
        #expect(throws: SpoolError.failed("read", code: EIO)) { try directory.open() }
        #expect(unlink(segment) == 0)
        #expect(rename(saved, segment) == 0)
        let again = try directory.open()
        #expect(try again.text(of: id) == "acknowledged\r\n")
        await again.close()
    }

    @Test func queueFileThatCannotBeReadIsNotCorrupt() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        directory.file()
        let (path, saved) = ("\(directory.path)/queue/\(id.path)", "\(directory.path)/saved")
        #expect(rename(path, saved) == 0)
        // A directory can be opened, but not read.
        #expect(mkdir(path, 0o700) == 0)
        #expect(throws: SpoolError.failed("read", code: EISDIR)) { try spool.content(of: id, verified: true) }
        #expect(rmdir(path) == 0)
        #expect(rename(saved, path) == 0)
        #expect(try spool.text(of: id) == "hello\r\n")
        await spool.close()
    }

    @Test func stateThatCannotBeReadIsNotEmpty() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        directory.file()
        #expect(mkdir("\(directory.path)/state/\(MessageID.directory(id.shard))", 0o700) == 0)
        #expect(mkdir("\(directory.path)/state/\(id.path)", 0o700) == 0)
        #expect(throws: SpoolError.failed("read", code: EISDIR)) { try spool.state(of: id) }
        await spool.close()
    }

    @Test func directoryThatCannotBeListedIsNotEmpty() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        directory.file()
        let (shard, saved) = (
            "\(directory.path)/queue/\(MessageID.directory(id.shard))", "\(directory.path)/saved"
        )
        #expect(rename(shard, saved) == 0)
        #expect(try spool.messages(shard: id.shard).isEmpty)
        #expect(symlink("/dev/null", shard) == 0)
        #expect(throws: SpoolError.self) { try spool.messages(shard: id.shard) }
        #expect(unlink(shard) == 0)
        #expect(rename(saved, shard) == 0)
        #expect(try spool.messages(shard: id.shard) == [id])
        await spool.close()
    }

    /// An append that failed may have left any part of its line, and cutting that off may have failed as well.
    @Test func tornLineIsOnceThereWhenItIsWrittenAgain() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("/spool", in: nil, mode: 0o700)
        let files = try SpoolFiles(path: "/spool", disk: disk, owner: "test")
        defer { files.close() }
        let line = ByteBuffer(string: StateEntry.delivered(1).line)
        for length in 0..<line.readableBytes {
            let id = MessageID(time: UInt64(length), random: 0)
            let part = try #require(line.getSlice(at: 0, length: length))
            try files.replace(.state, id, part)
            try files.append(.state, id, line)
            let content = try #require(try files.readIfThere(.state, id))
            #expect(StateEntry.parse(content) == [.delivered(1)], "\(length) octets")
        }
    }

    @Test func oneProcessOwnsASpool() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let workers = directory.workers
        let id = try await spool.add("hello\r\n")
        #expect(throws: SpoolError.owned("process \(getpid())")) { try directory.open() }
        #expect(try spool.text(of: id) == "hello\r\n")
        workers.advance(milliseconds: 6000)
        await spool.close()
        let again = try directory.open()
        #expect(try again.text(of: id) == "hello\r\n")
        await again.close()
    }

    /// Wherever the first error strikes a start, the next start has everything.
    @Test func errorAtAnyCallOfAStartLosesNothing() async throws {
        var call = 0
        var isOver = false
        while !isOver {
            call += 1
            let disk = SimulatedFileSystem(seed: UInt64(call))
            let directory = TemporarySpool(disk)
            let spool = try directory.open(segment: 64 << 10)
            let filed = try await spool.add("filed")
            directory.file()
            let unfiled = try await spool.add("unfiled")
            try await spool.commitDurably([.state(filed, lines: StateEntry.delivered(1).octets)])
            let finished = try await spool.add("finished")
            try await spool.commitDurably([.done(finished)])
            disk.kill()
            disk.start(FaultPlan(faults: [.init(.all, code: EIO, calls: call...call)]))
            do {
                let second = try directory.open(segment: 64 << 10)
                isOver = disk.callCount < call
                #expect(try isOver || second.text(of: unfiled) == "unfiled")
            } catch SpoolError.failed(_, let code) {
                #expect(code == EIO)
            }
            if call % 2 == 0 { disk.powerCut() } else { disk.kill() }
            let third = try directory.open(segment: 64 << 10)
            #expect(try third.text(of: filed) == "filed", "call \(call)")
            #expect(try third.text(of: unfiled) == "unfiled", "call \(call)")
            #expect(try third.state(of: filed) == [.delivered(1)], "call \(call)")
            #expect(throws: SpoolError.missing, "call \(call)") { try third.text(of: finished) }
            await third.close()
        }
        #expect(call > 50)
    }

    /// Whatever goes wrong with its file, nobody gets a message that the administrator holds.
    @Test func heldMessageIsNotReleasedByAnError() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        let directory = TemporarySpool(disk)
        let spool = try directory.open(segment: 64 << 10)
        let id = try await spool.add("hello")
        try await spool.setHeld(id, true)
        disk.kill()
        disk.start(FaultPlan(faults: [.init(.write, code: EIO, path: { $0.contains("hold/") })]))
        #expect(throws: SpoolError.self) { try directory.open(segment: 64 << 10) }
        disk.kill()
        let again = try directory.open(segment: 64 << 10)
        #expect(try directory.queued().isEmpty)
        #expect(try again.heldMessages() == [id])
        #expect(try again.text(of: id, isHeld: true) == "hello")
        await again.close()
    }

    @Test func errorOfAReadIsNotMissing() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        let directory = TemporarySpool(disk)
        let spool = try directory.open(segment: 64 << 10)
        let id = try await spool.add("hello")
        directory.file()
        try await spool.commitDurably([.state(id, lines: StateEntry.delivered(1).octets)])
        for operation in [SimulatedOperation.open, .read] {
            disk.start(FaultPlan(faults: [.init(operation, code: EIO)]))
            #expect(try spool.messageFailure(of: id) == EIO)
            #expect(try spool.stateFailure(of: id) == EIO)
            disk.start()
        }
        #expect(try spool.text(of: id) == "hello")
        await spool.close()
    }

    /// A sync that fails ends all promises: the next one could succeed without having written anything.
    @Test func failedSyncOfTheJournalEndsIt() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        let directory = TemporarySpool(disk)
        let spool = try directory.open(segment: 64 << 10)
        let id = try await spool.add("hello")
        disk.start(FaultPlan(faults: [.init(.syncData, code: EIO, times: 1)]))
        await #expect(throws: SpoolError.self) { try await spool.add("not acknowledged") }
        #expect(directory.failures.count == 1)
        await #expect(throws: SpoolError.broken) { try await spool.add("too late") }
        disk.powerCut()
        let again = try directory.open(segment: 64 << 10)
        #expect(try again.text(of: id) == "hello")
        await again.close()
    }
}

extension Spool {
    /// errno, where the message can't be read.
    fileprivate func messageFailure(of id: MessageID) throws(SpoolError) -> Int32? {
        do throws(SpoolError) {
            _ = try content(of: id, verified: true)
            return nil
        } catch .failed(_, let code) {
            return code
        }
    }

    fileprivate func stateFailure(of id: MessageID) throws(SpoolError) -> Int32? {
        do throws(SpoolError) {
            _ = try state(of: id)
            return nil
        } catch .failed(_, let code) {
            return code
        }
    }
}
