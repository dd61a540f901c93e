import CLinux
import Foundation
import Testing

/// What is given up is gone. Rights belong to a thread until a process starts with them, so each test gives up those of a
/// thread of its own.
@Suite struct RightsTests {
    private static let hasLandlock = CLinux_landlock_abi() > 0

    /// Runs the body on a thread that ends with it.
    private func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            Thread { continuation.resume(returning: body()) }.start()
        }
    }

    /// A directory with `inside/file`, `outside/file` and an executable `inside/program`.
    private func withTree(_ body: (String) async throws -> Void) async throws {
        let base = "/tmp/martlet-rights-\(UInt64.random(in: 0 ... .max))"
        for directory in ["", "/inside", "/outside"] { #expect(mkdir(base + directory, 0o700) == 0) }
        defer { _ = try? FileManager.default.removeItem(atPath: base) }
        for file in ["inside/file", "outside/file"] {
            close(open("\(base)/\(file)", O_WRONLY | O_CREAT, 0o600))
        }
        try FileManager.default.copyItem(atPath: "/bin/true", toPath: "\(base)/inside/program")
        try await body(base)
    }

    /// Whether a file or directory can be opened; the error where it can't.
    private static func openError(_ path: String, _ flags: CInt = O_RDONLY) -> CInt {
        let descriptor = open(path, flags | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return errno }
        close(descriptor)
        return 0
    }

    /// Puts the calling thread under rules made by the closure; false where a step fails.
    private static func restrict(_ directory: String, _ allow: (CInt, CInt) -> CInt) -> Bool {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let rules = CLinux_landlock_create()
        defer {
            close(descriptor)
            close(rules)
        }
        return descriptor >= 0 && rules >= 0 && CLinux_set_no_new_privs() == 0 && CLinux_no_new_privs()
            && allow(rules, descriptor) == 0 && CLinux_landlock_restrict(rules) == 0
    }

    @Test(.enabled(if: hasLandlock), arguments: [false, true])
    func readingIsAllWhereReadingIsAllowed(listing: Bool) async throws {
        try await withTree { base in
            let results = await onThread { () -> [CInt] in
                guard Self.restrict("\(base)/inside", { CLinux_landlock_allow_read($0, $1, listing) }) else {
                    return []
                }
                return [
                    Self.openError("\(base)/inside/file"), Self.openError("\(base)/inside", O_DIRECTORY),
                    Self.openError("\(base)/inside/file", O_WRONLY), Self.openError("\(base)/inside/more", O_CREAT),
                    Self.openError("\(base)/outside/file"), Self.openError("/etc/passwd"),
                    unlink("\(base)/inside/file") == 0 ? 0 : errno,
                ]
            }
            #expect(results == [0, listing ? 0 : EACCES, EACCES, EACCES, EACCES, EACCES, EACCES])
            // This thread gave up nothing.
            #expect(Self.openError("\(base)/outside/file", O_WRONLY) == 0)
        }
    }

    @Test(.enabled(if: hasLandlock))
    func writingIsAllWhereWritingIsAllowed() async throws {
        try await withTree { base in
            let results = await onThread { () -> [CInt] in
                guard Self.restrict("\(base)/inside", { CLinux_landlock_allow_write($0, $1) }) else { return [] }
                return [
                    Self.openError("\(base)/inside/file", O_RDWR),
                    Self.openError("\(base)/inside/more", O_CREAT | O_WRONLY),
                    rename("\(base)/inside/more", "\(base)/inside/most") == 0 ? 0 : errno,
                    unlink("\(base)/inside/most") == 0 ? 0 : errno,
                    mknod("\(base)/inside/device", S_IFCHR | 0o600, 0) == 0 ? 0 : errno,
                    Self.openError("\(base)/outside/file"),
                    rename("\(base)/inside/file", "\(base)/outside/moved") == 0 ? 0 : errno,
                    Self.execute("\(base)/inside/program"),
                ]
            }
            #expect(results.prefix(4) == [0, 0, 0, 0])
            #expect(results.count == 8 && results.dropFirst(4).allSatisfy { [EACCES, EPERM, EXDEV].contains($0) })
            #expect(Self.execute("\(base)/inside/program") == 0)
        }
    }

    /// Whether a program can be started; the error where it can't.
    private static func execute(_ path: String) -> CInt {
        var process: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup(path), nil]
        defer { free(arguments[0]) }
        let result = posix_spawn(&process, path, nil, nil, &arguments, nil)
        if result == 0 { waitpid(process, nil, 0) }
        return result
    }

    @Test(.enabled(if: getuid() == 0))
    func withoutCapabilitiesRootIsAUserLikeOthers() async throws {
        try await withTree { base in
            #expect(chmod("\(base)/outside/file", 0) == 0)
            #expect(Self.openError("\(base)/outside/file") == 0, "the test needs a root that may read everything")
            let (had, dropped, has, result) = await onThread {
                (
                    CLinux_has_capabilities(), CLinux_drop_capabilities(), CLinux_has_capabilities(),
                    Self.openError("\(base)/outside/file")
                )
            }
            #expect(had && dropped == 0 && !has && result == EACCES)
        }
    }

    @Test func aPeerIsKnown() {
        var ends: [CInt] = [-1, -1]
        #expect(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        #expect(CLinux_peer_uid(ends[0]) == Int64(getuid()))
        #expect(CLinux_peer_pid(ends[0]) == getpid())
        #expect(CLinux_peer_uid(-1) == -1 && CLinux_peer_pid(-1) == -1)
    }

    @Test func offsetOfUTCIsWithinADay() {
        #expect(abs(CLinux_utc_offset(1_795_447_200)) <= 14 * 3600)
    }
}
