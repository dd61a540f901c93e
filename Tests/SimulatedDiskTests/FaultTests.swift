import Files
import NIOCore
import SimulatedDisk
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct FaultTests {
    private func code(_ body: () throws -> Void) -> Int32? {
        do {
            try body()
            return 0
        } catch {
            return (error as? FileError)?.code
        }
    }

    @Test func lifeEndsAtItsCall() throws {
        var wasDone: Set<Bool> = []
        for seed in 0..<20 {
            let disk = SimulatedFileSystem(seed: UInt64(seed))
            disk.start(FaultPlan(endAt: 2))
            #expect(code { try disk.makeDirectory("a", in: nil, mode: 0o700) } == 0)
            #expect(code { try disk.makeDirectory("b", in: nil, mode: 0o700) } == EIO)
            #expect(disk.hasEnded && code { _ = try disk.names(".", in: nil) } == EIO)
            #expect(disk.callCount == 3)
            disk.kill()
            wasDone.insert(try disk.names(".", in: nil).contains(Array("b".utf8)))
        }
        #expect(wasDone == [true, false])
    }

    @Test func faultsAreChosenByOperationPathNumberAndChance() throws {
        let disk = SimulatedFileSystem(seed: 1)
        disk.start(
            FaultPlan(faults: [
                FaultPlan.Fault(.create, code: ENOSPC, times: 1, path: { $0.hasSuffix("x") }),
                FaultPlan.Fault(.rename, code: EIO, path: { $0 == "b/y" }),
                FaultPlan.Fault(.names, code: EIO, calls: 6...6),
            ])
        )
        try disk.makeDirectory("b", in: nil, mode: 0o700)
        #expect(code { try disk.put("", in: "b/x", syncing: false) } == ENOSPC)
        #expect(code { try disk.put("", in: "b/x", syncing: false) } == 0)
        #expect(code { try disk.rename("b/x", in: nil, to: "b/y", in: nil) } == EIO)
        #expect(code { try disk.rename("b/x", in: nil, to: "b/z", in: nil) } == 0)
        #expect(code { _ = try disk.names("b", in: nil) } == EIO)
        #expect(code { _ = try disk.names("b", in: nil) } == 0)
        disk.start(FaultPlan(faults: [FaultPlan.Fault(.all, code: EIO, probability: 0.25)]))
        let failures = (0..<1000).filter { _ in code { _ = try disk.names("b", in: nil) } != 0 }.count
        #expect((180...320).contains(failures))
    }

    @Test func failedWriteMayHaveWrittenSome() throws {
        var sizes: Set<Int> = []
        for seed in 0..<100 {
            let disk = SimulatedFileSystem(seed: UInt64(seed))
            disk.start(FaultPlan(faults: [FaultPlan.Fault(.write, code: ENOSPC)]))
            #expect(code { try disk.put("0123456789", in: "x", syncing: false) } == ENOSPC)
            let size = try disk.status("x", in: nil).size
            #expect(size < 10)
            sizes.insert(size)
        }
        #expect(sizes.count > 5)
    }

    /// fsync that fails, then fsync that succeeds: it has written nothing of what the first one was for.
    @Test func failedSyncIsNotMadeGoodByALaterOne() throws {
        var seen: Set<[String: String]> = []
        for seed in 0..<200 {
            let disk = SimulatedFileSystem(seed: UInt64(seed))
            let file = try disk.open("x", in: nil, [.writing, .creating], mode: 0o600)
            try disk.syncDirectory(".")
            try disk.write(ByteBuffer(string: "content"), to: file)
            disk.start(FaultPlan(faults: [FaultPlan.Fault(.sync, code: EIO, times: 1)]))
            #expect(code { try disk.sync(file) } == EIO)
            #expect(try disk.files() == ["x": "content"])
            #expect(code { try disk.sync(file) } == 0)
            disk.powerCut()
            seen.insert(try disk.files())
        }
        #expect(seen.contains(["x": "content"]) && seen.contains(["x": ""]))
    }

    /// The size is the file system's own to write, as names are.
    @Test func laterSyncCutsWhatAFailedOneWasToCut() throws {
        var seen: Set<[String: String]> = []
        for seed in 0..<200 {
            let disk = SimulatedFileSystem(seed: UInt64(seed))
            let file = try disk.open("x", in: nil, [.writing, .creating], mode: 0o600)
            try disk.write(ByteBuffer(string: "content"), to: file)
            try disk.sync(file)
            try disk.syncDirectory(".")
            try disk.truncate(file, to: 3)
            let isAll = seed % 2 == 0
            disk.start(FaultPlan(faults: [FaultPlan.Fault([.sync, .syncAll], code: EIO, times: 1)]))
            #expect(code { if isAll { try disk.syncAll(of: file) } else { try disk.sync(file) } } == EIO)
            let isSynced = seed % 4 < 2
            if isSynced { try disk.sync(file) }
            disk.powerCut()
            let files = try disk.files()
            if isSynced { #expect(files == ["x": "con"]) } else { seen.insert(files) }
        }
        #expect(seen.contains(["x": "content"]) && seen.contains(["x": "con"]))
    }

    /// Whole blocks are written from memory: what a failed sync has lost of one is there again with its next change.
    @Test func nextChangeOfABlockTakesLostOctetsAlong() throws {
        for seed in 0..<50 {
            let disk = SimulatedFileSystem(seed: UInt64(seed))
            let file = try disk.open("x", in: nil, [.writing, .creating], mode: 0o600)
            try disk.syncDirectory(".")
            try disk.write(ByteBuffer(string: "one"), to: file)
            disk.start(FaultPlan(faults: [FaultPlan.Fault(.sync, code: EIO, times: 1)]))
            #expect(code { try disk.sync(file) } == EIO)
            try disk.write(ByteBuffer(string: "two"), to: file)
            try disk.sync(file)
            disk.powerCut()
            #expect(try disk.files() == ["x": "onetwo"])
        }
    }

    @Test func failedSyncOfADirectoryMayHaveKeptItsNamesOrNot() throws {
        var seen: Set<[String: String]> = []
        for seed in 0..<200 {
            let disk = SimulatedFileSystem(seed: UInt64(seed))
            try disk.put("1", in: "x", syncing: true)
            disk.start(FaultPlan(faults: [FaultPlan.Fault(.sync, code: EIO, times: 1)]))
            #expect(code { try disk.syncDirectory(".") } == EIO)
            #expect(try disk.files() == ["x": "1"])
            if seed % 2 == 1 { try disk.syncDirectory(".") }
            disk.powerCut()
            let files = try disk.files()
            if seed % 2 == 1 { #expect(files == ["x": "1"]) } else { seen.insert(files) }
        }
        #expect(seen == [[:], ["x": "1"]])
    }

    @Test func seedDecidesTheRun() throws {
        func run(_ seed: UInt64) throws -> (history: String, names: [[UInt8]]) {
            let disk = SimulatedFileSystem(seed: seed)
            disk.start(FaultPlan(faults: [FaultPlan.Fault(.growing, code: ENOSPC, probability: 0.2)]))
            for index in 0..<300 {
                try? disk.put("\(index)", in: "f\(index)", syncing: index % 3 == 0)
                if index % 7 == 0 { try? disk.syncDirectory(".") }
            }
            let history = disk.history
            disk.powerCut()
            return (history, try disk.names(".", in: nil))
        }
        let (first, again, other) = (try run(1), try run(1), try run(2))
        #expect(first.history == again.history && first.names == again.names)
        #expect(first.names != other.names)
        #expect(first.history.split(separator: "\n").count == 200)
        #expect(first.history.contains("No space left on device"))
    }
}
