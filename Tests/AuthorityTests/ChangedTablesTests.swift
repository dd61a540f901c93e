import Accounts
import Bus
import NIOConcurrencyHelpers
import NIOCore
import Network
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

    /// A list in a file: until it's known once mail waits, and then what it said stays in use.
    @Test(.timeLimit(.minutes(1))) func listsInFiles() async throws {
        try await TestAuthority.run { (authority) async throws in
            func becomes(_ expected: String) async throws {
                while try await authority.ask("EXPAND", "news@example.test") != expected {
                    await authority.loop.pause(.milliseconds(20))
                }
            }
            let path = authority.directory.file("list")
            authority.directory.write("aliases", "news: :include:\(path)\nowner-news: bob\n".utf8)
            #expect(try await authority.ask("RECIPIENT", "news@example.test") == "DEFER 4.3.0")
            #expect(try await authority.ask("EXPAND", "news@example.test") == "DEFER 4.3.0")
            #expect(authority.log.lines(with: "mail for the list is put off").count == 1)
            authority.directory.write("list", "alice\nx@example.net\n".utf8)
            let owner = "owner=owner-news@example.test"
            try await becomes("forward=alice@example.test forward=x@example.net \(owner)")
            #expect(try await authority.ask("RECIPIENT", "news@example.test") == "kind=local")
            authority.directory.write("list", "alice\ny@example.net\n".utf8)
            try await becomes("forward=alice@example.test forward=y@example.net \(owner)")
            authority.directory.write("list", "rubbish of several words\n".utf8)
            while authority.log.lines(with: "stays in use").isEmpty { await authority.loop.pause(.milliseconds(20)) }
            #expect(unlink(path) == 0)
            try await becomes("forward=alice@example.test forward=y@example.net \(owner)")
            // Neither a link nor a pipe is read, and nothing that others may write.
            #expect(symlink(authority.directory.file("aliases"), path) == 0)
            while authority.log.lines(with: "symbolic links").isEmpty { await authority.loop.pause(.milliseconds(20)) }
            #expect(unlink(path) == 0 && mkfifo(path, 0o600) == 0)
            while authority.log.lines(with: "Operation not permitted").isEmpty {
                await authority.loop.pause(.milliseconds(20))
            }
            #expect(unlink(path) == 0)
            authority.directory.write("list", "eve\n".utf8)
            #expect(chmod(path, 0o666) == 0)
            try await becomes("forward=alice@example.test forward=y@example.net \(owner)")
            #expect(unlink(path) == 0)
            authority.directory.write("list", "bob\nz@example.net\n".utf8)
            try await becomes("forward=bob@example.test forward=z@example.net \(owner)")
        }
    }

    /// Domains come and go without a restart, and whoever watches hears of them.
    @Test(.timeLimit(.minutes(1))) func domainsAreFollowedInTheConfiguration() async throws {
        try await TestAuthority.run { (authority) async throws in
            let told = NIOLockedValueBox<[[String]]>([])
            let watch = DirectoryWatch(path: authority.directory.file("auth.sock"), on: authority.loop) { state in
                told.withLockedValue { $0.append(state.domains) }
            }
            watch.start()
            while told.withLockedValue({ $0.isEmpty }) { await authority.loop.pause(.milliseconds(5)) }
            #expect(try await authority.ask("RECIPIENT", "boss@other.test") == "kind=foreign")
            #expect(try await authority.ask("RECIPIENT", "postmaster") == "REJECT 5.1.1")
            let domains = "\"Other.test\", \"example.test\""
            let fresh = TestAuthority.configuration(authority.directory, domains: domains)
            authority.directory.write("aliases", "postmaster: alice@example.test\nboss: alice@example.test\n".utf8)
            authority.directory.write("martlet.toml", fresh.utf8)
            while told.withLockedValue({ $0.last != ["other.test", "example.test"] }) {
                await authority.loop.pause(.milliseconds(5))
            }
            #expect(try await authority.ask("RECIPIENT", "boss@other.test") == "kind=local")
            #expect(try await authority.ask("RECIPIENT", "Postmaster") == "kind=local address=postmaster@other.test")
            // A broken file changes nothing.
            authority.directory.write("martlet.toml", (fresh + "nonsense\n").utf8)
            #expect(try await authority.ask("RECIPIENT", "boss@other.test") == "kind=local")
            #expect(authority.log.lines(with: "stays in use").count == 1)
            let state = try #require(try await DirectoryWatch.ask(authority.directory.file("auth.sock")))
            #expect(state.domains == ["other.test", "example.test"] && state.troubles.count == 1)
            watch.close()
        }
    }

    /// Also without a question: a table that changes empties what others remember.
    @Test(.timeLimit(.minutes(1))) func whoWatchesHearsOfEveryChange() async throws {
        try await TestAuthority.run { (authority) async throws in
            let count = NIOLockedValueBox(0)
            let watch = DirectoryWatch(path: authority.directory.file("auth.sock"), on: authority.loop) { _ in
                count.withLockedValue { $0 += 1 }
            }
            watch.start()
            while count.withLockedValue({ $0 }) < 1 { await authority.loop.pause(.milliseconds(5)) }
            authority.directory.write("aliases", "dave: bob\n".utf8)
            while count.withLockedValue({ $0 }) < 2 { await authority.loop.pause(.milliseconds(5)) }
            authority.directory.write("users", TestAuthority.users.utf8)
            while count.withLockedValue({ $0 }) < 3 { await authority.loop.pause(.milliseconds(5)) }
            watch.close()
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

    /// Somebody writes a table in its place: what isn't there yet isn't gone.
    @Test(arguments: ["team: alice", ""])
    func halfWrittenTables(_ part: String) async throws {
        try await TestAuthority.run { authority in
            #expect(try await authority.ask("RECIPIENT", "boss@example.test") == "kind=local")
            authority.directory.overwrite("aliases", part.utf8)
            #expect(try await authority.ask("RECIPIENT", "boss@example.test") == "kind=local")
            let state = try await DirectoryWatch.ask(authority.directory.file("auth.sock"))
            #expect(state?.troubles.count == 1 && state?.troubles.first?.contains("written just now") == true)
            #expect(try await authority.ask("RECIPIENT", "boss@example.test") == "kind=local")
            // Nobody writes any more.
            authority.directory.age("aliases", seconds: 7200)
            #expect(try await authority.ask("RECIPIENT", "boss@example.test") == "REJECT 5.1.1")
            #expect(try await DirectoryWatch.ask(authority.directory.file("auth.sock"))?.troubles == [])
            // The rest has come.
            authority.directory.write("aliases", "team: ali".utf8)
            authority.directory.write("aliases", "team: alice\nboss: alice\n".utf8)
            #expect(try await authority.ask("RECIPIENT", "boss@example.test") == "kind=local")
            // An empty one that is put in its place is meant.
            authority.directory.write("aliases", "".utf8)
            #expect(try await authority.ask("RECIPIENT", "boss@example.test") == "REJECT 5.1.1")
        }
    }

    /// A table that was never there whole is none.
    @Test func aHalfWrittenTableAtTheStart() async throws {
        try await TestAuthority.run(users: TestAuthority.users + "dave@example.test:\(TestAuthority.hash.dropLast(9))")
        {
            authority in
            let before = try await authority.ask("RECIPIENT", "alice@example.test")
            authority.directory.write("users", TestAuthority.users.utf8)
            let after = try await authority.ask("RECIPIENT", "alice@example.test")
            #expect(before == "DEFER 4.3.0" && after == "kind=local")
        }
    }
}
