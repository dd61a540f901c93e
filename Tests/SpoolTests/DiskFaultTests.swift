import NIOCore
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
        #expect(unlink("\(directory.path)/queue/\(id.path)") == 0)
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
        let (path, saved) = ("\(directory.path)/queue/\(id.path)", "\(directory.path)/saved")
        #expect(rename(path, saved) == 0)
        // A directory can be opened, but not read.
        #expect(mkdir(path, 0o700) == 0)
        #expect(throws: SpoolError.failed("read", code: EISDIR)) { try spool.head(of: id, verified: true) }
        #expect(rmdir(path) == 0)
        #expect(rename(saved, path) == 0)
        #expect(try spool.text(of: id) == "hello\r\n")
        await spool.close()
    }

    @Test func stateThatCannotBeReadIsNotEmpty() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        #expect(mkdir("\(directory.path)/state/\(MessageID.directory(id.shard))", 0o700) == 0)
        #expect(mkdir("\(directory.path)/state/\(id.path)", 0o700) == 0)
        #expect(throws: SpoolError.failed("read", code: EISDIR)) { try spool.state(of: id) }
        await spool.close()
    }

    @Test func directoryThatCannotBeListedIsNotEmpty() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
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

    @Test func oneProcessOwnsASpool() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("hello\r\n")
        #expect(throws: SpoolError.owned("process \(getpid())")) { try directory.open() }
        #expect(try spool.text(of: id) == "hello\r\n")
        await spool.close()
        let again = try directory.open()
        #expect(try again.text(of: id) == "hello\r\n")
        await again.close()
    }
}
