import Files
import NIOCore
import SimulatedDisk
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// What survives, over many seeds: each thing that may happen has to be seen, and nothing that may not.
@Suite struct PowerCutTests {
    /// Runs the body on a disk of its own for each seed, cuts the power, and gives what is there then.
    private func outcomes(
        _ seeds: Int = 400,
        _ body: (SimulatedFileSystem) throws -> Void
    ) throws -> Set<[String: String]> {
        var outcomes: Set<[String: String]> = []
        for seed in 0..<seeds {
            let disk = SimulatedFileSystem(seed: UInt64(seed))
            try disk.makeDirectory("a", in: nil, mode: 0o700)
            try disk.makeDirectory("b", in: nil, mode: 0o700)
            try disk.syncDirectory(".")
            try body(disk)
            disk.powerCut()
            outcomes.insert(try disk.files())
        }
        return outcomes
    }

    @Test func syncedFileInASyncedDirectoryStays() throws {
        let seen = try outcomes { disk in
            try disk.put("content", in: "a/x", syncing: true)
            try disk.syncDirectory("a")
        }
        #expect(seen == [["a/x": "content"]])
    }

    @Test func syncOfAFileDoesNotKeepItsName() throws {
        let seen = try outcomes { disk in try disk.put("content", in: "a/x", syncing: true) }
        #expect(seen == [["a/x": "content"], [:]])
    }

    @Test func nameIsKeptWithoutItsContent() throws {
        let seen = try outcomes { disk in
            try disk.put("content", in: "a/x", syncing: false)
            try disk.syncDirectory("a")
        }
        #expect(seen.contains(["a/x": ""]) && seen.contains(["a/x": "content"]))
        // The size alone: a hole.
        #expect(seen.contains(["a/x": "\0\0\0\0\0\0\0"]))
        #expect(seen.allSatisfy { $0.count == 1 })
    }

    @Test func renameIsNeverHalf() throws {
        let seen = try outcomes { disk in
            try disk.put("1", in: "a/x", syncing: true)
            try disk.syncDirectory("a")
            try disk.rename("a/x", in: nil, to: "b/y", in: nil)
        }
        #expect(seen == [["a/x": "1"], ["b/y": "1"]])
    }

    @Test(arguments: ["a", "b"]) func syncOfEitherDirectoryKeepsARename(_ synced: String) throws {
        let seen = try outcomes { disk in
            try disk.put("1", in: "a/x", syncing: true)
            try disk.syncDirectory("a")
            try disk.rename("a/x", in: nil, to: "b/y", in: nil)
            try disk.syncDirectory(synced)
        }
        #expect(seen == [["b/y": "1"]])
    }

    @Test func operationsOnDifferentNamesAreKeptInAnyOrder() throws {
        let seen = try outcomes { disk in
            for name in ["x", "y"] { try disk.put(name, in: "a/\(name)", syncing: true) }
        }
        #expect(seen == [[:], ["a/x": "x"], ["a/y": "y"], ["a/x": "x", "a/y": "y"]])
    }

    @Test func operationIsNotKeptWithoutThoseItBuildsOn() throws {
        let seen = try outcomes { disk in
            try disk.put("1", in: "a/x", syncing: true)
            try disk.rename("a/x", in: nil, to: "b/x", in: nil)
            try disk.rename("b/x", in: nil, to: "b/y", in: nil)
        }
        #expect(seen == [[:], ["a/x": "1"], ["b/x": "1"], ["b/y": "1"]])
    }

    @Test func removedFileMayComeBack() throws {
        let seen = try outcomes { disk in
            try disk.put("1", in: "a/x", syncing: true)
            try disk.syncDirectory("a")
            try disk.remove("a/x", in: nil)
        }
        #expect(seen == [[:], ["a/x": "1"]])
    }

    @Test func unsyncedWritesAreTornAtBlocks() throws {
        let (old, new) = (String(repeating: "o", count: 2048), String(repeating: "n", count: 2048))
        let seen = try outcomes { disk in
            try disk.put(old, in: "a/x", syncing: true)
            try disk.syncDirectory("a")
            let file = try disk.open("a/x", in: nil, .writing, mode: 0)
            try disk.write(ByteBuffer(string: new), to: file, at: 0)
        }
        var blocks: Set<String> = []
        for outcome in seen {
            let text = try #require(outcome["a/x"])
            #expect(text.utf8.count == 2048)
            var shape = ""
            for block in 0..<4 {
                let octets = Set(text.utf8.dropFirst(block * 512).prefix(512))
                #expect(octets.count == 1)
                shape += octets == Set("o".utf8) ? "o" : "n"
            }
            blocks.insert(shape)
        }
        #expect(blocks.count == 16)
    }

    @Test func blockHasOneOfItsStates() throws {
        // The second write's block has the first one's octets in it: it can't be there without them.
        let seen = try outcomes { disk in
            let file = try disk.open("a/x", in: nil, [.writing, .creating], mode: 0o600)
            try disk.syncDirectory("a")
            try disk.write(ByteBuffer(string: "one"), to: file)
            try disk.write(ByteBuffer(string: "two"), to: file)
        }
        #expect(seen.contains(["a/x": "onetwo"]) && seen.contains(["a/x": "one"]) && seen.contains(["a/x": ""]))
        #expect(seen.allSatisfy { !($0["a/x"] ?? "").hasPrefix("\0\0\0two") })
    }

    @Test func truncationMayBeLost() throws {
        let seen = try outcomes { disk in
            try disk.put("content", in: "a/x", syncing: true)
            try disk.syncDirectory("a")
            let file = try disk.open("a/x", in: nil, .writing, mode: 0)
            try disk.truncate(file, to: 3)
        }
        #expect(seen.contains(["a/x": "con"]) && seen.contains(["a/x": "content"]))
    }

    @Test func syncAllKeepsEverything() throws {
        let seen = try outcomes(50) { disk in
            try disk.put("1", in: "a/x", syncing: false)
            try disk.rename("a/x", in: nil, to: "b/y", in: nil)
            let root = try disk.open(".", in: nil, [.reading, .directory], mode: 0)
            try disk.syncAll(of: root)
        }
        #expect(seen == [["b/y": "1"]])
    }

    @Test func handlesAndLocksAreVoidAfterwards() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let file = try disk.open("x", in: nil, [.writing, .creating], mode: 0o600)
        try disk.syncDirectory(".")
        #expect(try disk.lock(file))
        let second = try disk.open("x", in: nil, .writing, mode: 0)
        #expect(try !disk.lock(second))
        disk.powerCut()
        #expect(throws: FileError.self) { try disk.sync(file) }
        let third = try disk.open("x", in: nil, .writing, mode: 0)
        #expect(try disk.lock(third))
        // A handle of before that is closed late closes nothing of ours.
        disk.close(file)
        #expect(try !disk.lock(try disk.open("x", in: nil, .writing, mode: 0)))
    }

    @Test func killLosesHandlesOnly() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.put("1", in: "x", syncing: false)
        let file = try disk.open("x", in: nil, .writing, mode: 0)
        #expect(try disk.lock(file))
        disk.kill()
        #expect(throws: FileError.self) { try disk.sync(file) }
        #expect(try disk.files() == ["x": "1"])
        #expect(try disk.lock(try disk.open("x", in: nil, .writing, mode: 0)))
    }
}
