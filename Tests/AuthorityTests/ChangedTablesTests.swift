import Bus
import Testing

@testable import Authority

#if canImport(Glibc)
import Glibc
#endif

/// Tables change under a running authd.
@Suite struct ChangedTablesTests {
    @Test func aChangedTableCountsAtOnce() async throws {
        try await TestAuthority.run { (authority) async throws in
            #expect(try await authority.verify("dave").replyKind == .reject)
            authority.directory.write("users", (TestAuthority.users + "dave@example.test:\(TestAuthority.hash)\n").utf8)
            #expect(try await authority.verify("dave").replyKind == .ok)
            authority.directory.write("users", TestAuthority.users.utf8)
            #expect(try await authority.verify("dave").replyKind == .reject)
            authority.directory.write("aliases", "dave: bob\n".utf8)
            #expect(try await authority.ask("RECIPIENT", "dave@example.test") == "kind=local")
            #expect(try await authority.ask("RECIPIENT", "team@example.test") == "REJECT 5.1.1")
        }
    }

    @Test func aBrokenTableLeavesTheFormerOneInUse() async throws {
        try await TestAuthority.run { (authority) async throws in
            #expect(try await authority.verify("alice").replyKind == .ok)
            authority.directory.write("users", "dave@example.test:\(TestAuthority.hash)\nrubbish\n".utf8)
            authority.directory.write("aliases", "rubbish\n".utf8)
            #expect(try await authority.verify("alice").replyKind == .ok)
            #expect(try await authority.verify("dave").replyKind == .reject)
            #expect(try await authority.ask("RECIPIENT", "team@example.test") == "kind=local")
            #expect(unlink(authority.directory.file("users")) == 0)
            #expect(try await authority.verify("alice").replyKind == .ok)
            authority.directory.write("users", "dave@example.test:\(TestAuthority.hash)\n".utf8)
            #expect(try await authority.verify("dave").replyKind == .ok)
            #expect(try await authority.verify("alice").replyKind == .reject)
        }
    }

    /// Without users nobody is told that an address doesn't exist.
    @Test func withoutATableAllIsPutOff() async throws {
        try await TestAuthority.run(users: nil) { (authority) async throws in
            #expect(try await authority.verify("alice")["status"] == "4.3.0")
            #expect(try await authority.ask("RECIPIENT", "nobody@example.test") == "DEFER 4.3.0")
            authority.directory.write("users", "rubbish\n".utf8)
            #expect(try await authority.ask("EXPAND", "alice@example.test") == "DEFER 4.3.0")
            authority.directory.write("users", TestAuthority.users.utf8)
            #expect(try await authority.ask("RECIPIENT", "alice@example.test") == "kind=local")
        }
    }

    /// No table alone says that an address doesn't exist, and no log that a table stays in use which never was.
    @Test(arguments: ["users", "aliases"], [nil, "rubbish\n"])
    func withoutOneOfTheTablesAllIsPutOff(_ file: String, _ content: String?) async throws {
        let users = file == "users" ? content : TestAuthority.users
        let aliases = file == "aliases" ? content : TestAuthority.aliases
        try await TestAuthority.run(users: users, aliases: aliases) { (authority) async throws in
            #expect(try await authority.verify("alice")["status"] == "4.3.0")
            for address in ["alice@example.test", "team@example.test", "nobody@example.test"] {
                #expect(try await authority.ask("RECIPIENT", address) == "DEFER 4.3.0")
                #expect(try await authority.ask("EXPAND", address) == "DEFER 4.3.0")
            }
            #expect(authority.log.lines(with: "stays in use").isEmpty)
            #expect(authority.log.lines(with: "logins and mail are put off").count == 1)
            let mended = file == "users" ? TestAuthority.users : TestAuthority.aliases
            authority.directory.write(file, mended.utf8)
            #expect(try await authority.ask("RECIPIENT", "team@example.test") == "kind=local")
            #expect(try await authority.ask("RECIPIENT", "nobody@example.test") == "REJECT 5.1.1")
            authority.directory.write(file, "rubbish\n".utf8)
            #expect(try await authority.ask("RECIPIENT", "team@example.test") == "kind=local")
            #expect(authority.log.lines(with: "stays in use").count == 1)
        }
    }

    /// What stood in the way may be gone without a change of the file, such as a directory in its place here.
    @Test func whatCouldNotBeReadIsTriedAgain() async throws {
        try await TestAuthority.run(users: nil) { (authority) async throws in
            let file = authority.directory.file("users")
            authority.directory.write("other", TestAuthority.users.utf8)
            #expect(symlink("loop", authority.directory.file("loop")) == 0)
            #expect(symlink("loop", file) == 0)
            #expect(try await authority.ask("RECIPIENT", "alice@example.test") == "DEFER 4.3.0")
            #expect(unlink(authority.directory.file("loop")) == 0)
            #expect(symlink("other", authority.directory.file("loop")) == 0)
            #expect(try await authority.ask("RECIPIENT", "alice@example.test") == "kind=local")
        }
    }

    @Test func linesMayEndInCRLF() async throws {
        let users = TestAuthority.users.replacing("\n", with: "\r\n")
        try await TestAuthority.run(users: users) { (authority) async throws in
            authority.directory.write("aliases", "# names\r\nboss: alice\r\n\r\nteam: alice,\r\n\tbob\r\n".utf8)
            #expect(try await authority.verify("alice").replyKind == .ok)
            #expect(try await authority.ask("RECIPIENT", "boss@example.test") == "kind=local")
            let team = try await authority.ask("EXPAND", "team@example.test")
            #expect(team == "forward=alice@example.test forward=bob@example.test")
        }
    }
}
