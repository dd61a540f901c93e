import Daemon
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// What another user may read. Only root can find out.
@Suite(.enabled(if: getuid() == 0)) struct FileReachTests {
    private static let other = "nobody"

    private func withTree(_ body: (String) throws -> Void) throws {
        let base = "/tmp/martlet-reach-\(UInt64.random(in: 0 ... .max))"
        for directory in ["", "/etc"] { try #require(mkdir(base + directory, 0o755) == 0) }
        let file = open("\(base)/etc/users", O_WRONLY | O_CREAT, 0o640)
        try #require(file >= 0 && fchmod(file, 0o640) == 0)
        close(file)
        defer {
            unlink("\(base)/etc/users")
            rmdir("\(base)/etc")
            rmdir(base)
        }
        try body(base)
    }

    @Test func theWholeWayCounts() throws {
        let reach = try #require(FileReach(user: Self.other))
        let group = try #require(getpwnam(Self.other)).pointee.pw_gid
        try withTree { base in
            let users = "\(base)/etc/users"
            // Of group 0, in which root is and the other isn't.
            #expect(reach.obstacle(to: users) == .file(users))
            #expect(chown(users, 0, group) == 0)
            #expect(reach.obstacle(to: users) == nil)
            #expect(reach.obstacle(to: "\(base)/etc/aliases") == .missing("\(base)/etc/aliases"))
            #expect(reach.obstacle(to: "\(base)/lost/aliases") == .missing("\(base)/lost"))
            #expect(chmod("\(base)/etc", 0o700) == 0)
            #expect(reach.obstacle(to: users) == .directory("\(base)/etc"))
            #expect(chmod("\(base)/etc", 0o755) == 0 && chmod(base, 0o750) == 0)
            #expect(reach.obstacle(to: users) == .directory(base))
            #expect(chmod(base, 0o755) == 0 && chmod(users, 0) == 0)
            #expect(reach.obstacle(to: users) == .file(users))
        }
    }

    /// Asking changes nothing for who asks.
    @Test func rightsComeBack() throws {
        let reach = try #require(FileReach(user: Self.other))
        try withTree { base in
            #expect(chmod("\(base)/etc/users", 0) == 0)
            #expect(reach.obstacle(to: "\(base)/etc/users") != nil)
            let file = open("\(base)/etc/users", O_RDONLY)
            #expect(file >= 0)
            close(file)
        }
    }

    @Test func usersThatAreNotThereHaveNoRights() { #expect(FileReach(user: "no-such-user-here") == nil) }
}
