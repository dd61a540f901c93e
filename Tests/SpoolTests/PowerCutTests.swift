import Files
import NIOCore
import SimulatedDisk
import SpoolSimulation
import Testing

@testable import Spool

#if canImport(Glibc)
import Glibc
#endif

/// Starts after a kill that the power doesn't last for.
@Suite struct PowerCutTests {
    /// Opens the spool, cuts the power at each call of that in turn, opens it again, and has a look. Many disks each time.
    private func cutEveryCallOfAStart(
        _ seeds: Int = 2,
        before: (TemporarySpool, SimulatedFileSystem) async throws -> MessageID,
        check: (Spool, MessageID) throws -> Void
    ) async throws {
        var call = 0
        var isOver = false
        while !isOver {
            call += 1
            for seed in 0..<seeds {
                let disk = SimulatedFileSystem(seed: UInt64(call * 1000 + seed))
                let directory = TemporarySpool(disk)
                let id = try await before(directory, disk)
                disk.kill()
                disk.start(FaultPlan(endAt: call))
                _ = try? directory.open(segment: 32 << 10)
                isOver = !disk.hasEnded
                disk.powerCut()
                let spool = try directory.open(segment: 32 << 10)
                try check(spool, id)
                await spool.close()
            }
        }
        #expect(call > 40)
    }

    /// What was not acknowledged is whole or not there.
    @Test(arguments: [false, true]) func unsyncedRecordLeavesNoDamage(isError: Bool) async throws {
        try await cutEveryCallOfAStart { directory, disk in
            let spool = try directory.open(segment: 32 << 10)
            let id = spool.makeID()
            // The sync fails, or life ends with it.
            disk.start(isError ? FaultPlan(faults: [.init(.syncData, code: EIO)]) : FaultPlan(endAt: 2))
            let text = String(repeating: "x", count: 3000)
            await #expect(throws: SpoolError.failed("syncData spool/journal/0", code: EIO)) {
                try await spool.commitDurably([spool.put(id, text)])
            }
            directory.workers.stop()
            return id
        } check: { spool, id in
            let found = try spool.messages(shard: id.shard)
            #expect(found.isEmpty || found == [id])
            if !found.isEmpty { #expect(try spool.text(of: id) == String(repeating: "x", count: 3000)) }
        }
    }

    /// The removal was not acknowledged: the message is there as a whole, or gone for good.
    @Test func unsyncedRemovalIsWhole() async throws {
        try await cutEveryCallOfAStart { directory, disk in
            let spool = try directory.open(segment: 32 << 10)
            let id = try await spool.add("hello")
            directory.file()
            disk.start(FaultPlan(faults: [.init(.syncData, code: EIO)]))
            await #expect(throws: SpoolError.self) { try await spool.commitDurably([.done(id)]) }
            directory.workers.stop()
            return id
        } check: { spool, id in
            if try !spool.messages(shard: id.shard).isEmpty { #expect(try spool.text(of: id) == "hello") }
        }
    }

    /// What a failed sync has lost is in the kernel's memory all the same, and must not be thought safe.
    @Test func lineThatAFailedSyncHasLostIsWrittenAgain() async throws {
        for seed in 0..<40 {
            let disk = SimulatedFileSystem(seed: UInt64(seed))
            let directory = TemporarySpool(disk)
            let spool = try directory.open(segment: 32 << 10)
            let id = try await spool.add("hello")
            directory.file()
            try await spool.commitDurably([.state(id, lines: StateEntry.delivered(1).octets)])
            disk.start(FaultPlan(faults: [.init(.syncAll, code: EIO)]))
            while directory.failures.isEmpty { _ = try? await spool.add(String(repeating: "x", count: 3000)) }
            disk.kill()
            let again = try directory.open(segment: 32 << 10)
            await again.close()
            disk.powerCut()
            let last = try directory.open(segment: 32 << 10)
            #expect(try last.state(of: id) == [.delivered(1)], "seed \(seed)")
            #expect(try last.text(of: id) == "hello")
            await last.close()
        }
    }
}
