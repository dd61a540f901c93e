import Files
import NIOCore
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite final class KernelFileSystemTests {
    private let disk = KernelFileSystem()
    private let path = "/tmp/martlet-files-\(UInt64.random(in: 0 ... .max))"
    private let base: FileHandle

    init() throws {
        try disk.makeDirectory(path, in: nil, mode: 0o700)
        base = try disk.open(path, in: nil, [.reading, .directory], mode: 0)
    }

    deinit {
        for name in (try? disk.names(".", in: base)) ?? [] {
            try? disk.remove(String(decoding: name, as: UTF8.self), in: base)
        }
        disk.close(base)
        try? disk.removeDirectory(path, in: nil)
    }

    private func make(_ name: String, _ text: String = "") throws -> FileHandle {
        let file = try disk.open(name, in: base, [.reading, .writing, .creating], mode: 0o640)
        try disk.write(ByteBuffer(string: text), to: file)
        return file
    }

    @Test func readsEndAtTheFilesEnd() throws {
        let file = try make("x", "0123456789")
        defer { disk.close(file) }
        #expect(String(buffer: try disk.read(4, from: file, at: 3)) == "3456")
        #expect(String(buffer: try disk.read(40, from: file, at: 8)) == "89")
        #expect(try disk.read(4, from: file, at: 100).readableBytes == 0)
    }

    @Test func readErrorIsNoEndOfFile() throws {
        #expect(throws: FileError("read", code: EISDIR)) { try disk.read(4, from: base, at: 0) }
    }

    @Test func contentsHaveALimit() throws {
        disk.close(try make("x", "0123456789"))
        #expect(try disk.contents(of: "x", in: base, maximum: 10).readableBytes == 10)
        #expect(throws: FileError("read x", code: EFBIG)) { try disk.contents(of: "x", in: base, maximum: 9) }
        do throws(FileError) {
            _ = try disk.contents(of: "y", in: base, maximum: 9)
            Issue.record("a missing file was read")
        } catch {
            #expect(error.isMissing && !error.isExisting && !error.isFull)
        }
    }

    @Test func contentsTakeMemoryForWhatIsThere() throws {
        disk.close(try make("x", String(repeating: "x", count: 100_000)))
        let octets = try disk.contents(of: "x", in: base, maximum: 1 << 30)
        #expect(octets.readableBytes == 100_000 && octets.capacity <= 1 << 20)
    }

    @Test func namesAreOctets() throws {
        let odd = "caf\u{e9}"
        disk.close(try make(odd))
        disk.close(try make("x"))
        #expect(Set(try disk.names(".", in: base)) == [Array(odd.utf8), Array("x".utf8)])
    }

    @Test func statusTellsALinkFromItsTarget() throws {
        disk.close(try make("x", "123"))
        #expect(symlink("x", "\(path)/l") == 0)
        #expect(try disk.status("l", in: base).kind == .other)
        let target = try disk.status("l", in: base, followingLinks: true)
        #expect(target.kind == .file && target.size == 3 && target.permissions == 0o640)
        #expect(target == (try disk.status("x", in: base)))
        #expect(throws: FileError("open l", code: ELOOP)) {
            try disk.open("l", in: base, [.reading, .notFollowing], mode: 0)
        }
    }

    @Test func locksExclude() throws {
        let (first, second) = (try make("x"), try make("x"))
        #expect(try disk.lock(first) && !disk.lock(second))
        disk.close(first)
        #expect(try disk.lock(second))
        let (third, fourth) = (try make("y"), try make("y"))
        #expect(try disk.lockRecords(third) && !disk.lockRecords(fourth))
        disk.unlockRecords(third)
        #expect(try disk.lockRecords(fourth))
        // It's the descriptor's, not the process's: another one of the file may be closed.
        disk.close(try make("y"))
        #expect(try !disk.lockRecords(third))
        for file in [second, third, fourth] { disk.close(file) }
    }

    @Test func timesAndSpace() throws {
        let file = try make("x")
        defer { disk.close(file) }
        try disk.setModified(file, seconds: 1_000_000_000)
        #expect(try disk.status(of: file).modified == 1_000_000_000)
        let space = try disk.space(of: file)
        #expect(space.free > 0 && space.free <= space.total)
        try disk.allocate(file, octets: 10_000)
        #expect(try disk.status(of: file).size == 10_000)
        try disk.syncAll(of: file)
    }
}
