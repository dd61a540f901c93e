import Authority
import SMTP
import Testing

@Suite struct AccountDirectoryTests {
    private let accounts = """
        # people
        alice@example.test:$6$x$y:example.test/alice:maildir:0
        Bob@Example.test:!:example.test/bob.mbox:mbox:1000

        """
    private let aliases = """
        postmaster: alice
        team: alice, bob@example.test, carol@example.net
          , dave@example.net
        round: square
        square: round
        one: two
        two: bob
        @other.test: alice@example.test
        self: self, alice

        """

    private func directory() throws -> AccountDirectory {
        AccountDirectory(
            accounts: try AccountTable(text: accounts, file: "users"),
            aliases: try AliasTable(text: aliases, file: "aliases"),
            domains: ["example.test", "other.test"]
        )
    }

    private func address(_ text: String) throws -> MailAddress { try MailAddress(parsing: text.utf8) }

    /// What an address leads to, in a word.
    private func lookUp(_ text: String) throws -> String {
        switch try directory().destination(of: try address(text)) {
        case .mailbox(let account, let rest): return "mailbox \(account.mailbox)" + (rest.map { " +\($0)" } ?? "")
        case .forward(let list): return "forward " + list.map(\.description).joined(separator: " ")
        case .foreign: return "foreign"
        case .unknown: return "unknown"
        case .loop: return "loop"
        }
    }

    @Test(arguments: [
        ("alice@example.test", "mailbox example.test/alice"),
        ("ALICE@EXAMPLE.TEST", "mailbox example.test/alice"),
        ("bob@example.test", "mailbox example.test/bob.mbox"),
        ("alice+lists@example.test", "mailbox example.test/alice +lists"),
        ("postmaster@example.test", "mailbox example.test/alice"),
        ("two@example.test", "mailbox example.test/bob.mbox"),
        ("one@example.test", "mailbox example.test/bob.mbox"),
        (
            "team@example.test",
            "forward alice@example.test bob@example.test carol@example.net dave@example.net"
        ),
        ("team+x@example.test", "forward alice@example.test bob@example.test carol@example.net dave@example.net"),
        ("round@example.test", "loop"), ("self@example.test", "loop"),
        ("nobody@example.test", "unknown"), ("+x@example.test", "unknown"),
        ("anything@other.test", "mailbox example.test/alice"),
        ("carol@example.net", "foreign"), ("alice@[127.0.0.1]", "foreign"),
    ])
    func destinations(text: String, expected: String) throws {
        #expect(try lookUp(text) == expected)
    }

    @Test func loginNamesMayLackTheDomain() throws {
        #expect(try directory().account(user: "alice")?.mailbox == "example.test/alice")
        #expect(try directory().account(user: "BOB@example.test")?.mailbox == "example.test/bob.mbox")
        #expect(try directory().account(user: "team") == nil)
        #expect(try directory().account(user: "a b\u{0}@@") == nil)
    }

    @Test(arguments: [
        ("alice\n", 1), ("\n\nalice@example.test\n", 3), ("a@b.test:x:../../etc:maildir:0", 1),
        ("a@b.test:x:/etc:maildir:0", 1), ("a@b.test:x:m:folder:0", 1), ("a@b.test:x:m:mbox:-1", 1),
        ("a@b.test:x\na@B.test:x\n", 2), ("a@b.test:x:m:mbox:0:more", 1),
    ])
    func faultyUsersNameTheirLine(text: String, line: Int) {
        #expect {
            _ = try AccountTable(text: text, file: "users")
        } throws: { ($0 as? TableError)?.line == line }
    }

    @Test(arguments: [
        ("team alice\n", 1), ("# x\nteam:\n", 2), ("team: a, , b\n", 1), ("a: b\nA: c\n", 2), ("a: <>\n", 1),
    ])
    func faultyAliasesNameTheirLine(text: String, line: Int) {
        #expect {
            _ = try AliasTable(text: text, file: "aliases")
        } throws: { ($0 as? TableError)?.line == line }
    }

    @Test func manyAliasesInARowEnd() throws {
        let chain = (0..<50).map { "a\($0): a\($0 + 1)" }.joined(separator: "\n") + "\na50: alice\n"
        let directory = AccountDirectory(
            accounts: try AccountTable(text: accounts, file: "users"),
            aliases: try AliasTable(text: chain, file: "aliases"),
            domains: ["example.test"]
        )
        #expect(directory.destination(of: try address("a0@example.test")) == .loop)
        guard case .mailbox = directory.destination(of: try address("a45@example.test")) else {
            Issue.record("a short chain leads to the mailbox")
            return
        }
    }

    private func directory(aliases: String) throws -> AccountDirectory {
        AccountDirectory(
            accounts: try AccountTable(text: accounts, file: "users"),
            aliases: try AliasTable(text: aliases, file: "aliases"),
            domains: ["example.test"]
        )
    }

    /// Each alias leads to the next one many times, which makes as many ways as there are atoms in a tree.
    @Test(.timeLimit(.minutes(1))) func aliasesThatLeadToOneAnotherAgainAndAgainAreFollowedOnce() throws {
        let next = { (number: Int) in Array(repeating: "a\(number)", count: 1000).joined(separator: ", ") }
        let chain = (0..<9).map { "a\($0): \(next($0 + 1))" }.joined(separator: "\n") + "\na9: alice, bob\n"
        let directory = try directory(aliases: chain)
        let expected = AccountDirectory.Destination.forward([
            try address("alice@example.test"), try address("bob@example.test"),
        ])
        #expect(directory.destination(of: try address("a0@example.test")) == expected)
    }

    /// Also where the shorter way to it comes first.
    @Test(arguments: ["low: a1, a3", "low: a3, a1"]) func theLongestWayCounts(_ text: String) throws {
        let chain = (1..<10).map { "a\($0): a\($0 + 1)" }.joined(separator: "\n")
        let directory = try directory(aliases: "\(text)\nhigh: low\n\(chain)\na10: alice\n")
        // a1 to a10 are as many as may be in a row.
        guard case .mailbox = directory.destination(of: try address("a1@example.test")) else {
            Issue.record("ten in a row are allowed")
            return
        }
        #expect(directory.destination(of: try address("low@example.test")) == .loop)
        #expect(directory.destination(of: try address("high@example.test")) == .loop)
    }

    @Test func aLoopBehindOthersIsALoop() throws {
        let directory = try directory(aliases: "a: alice, b, c\nb: c\nc: d, alice\nd: bob, b\n")
        for name in ["a", "b", "c", "d"] {
            #expect(directory.destination(of: try address("\(name)@example.test")) == .loop)
        }
    }

    @Test func aMailboxGetsOneCopy() throws {
        let directory = try directory(
            aliases:
                "all: alice, Alice@EXAMPLE.test, staff, alice+x, alice+x@example.test, X@far.test, x@far.test\nstaff: ALICE, bob\n"
        )
        let expected = ["alice@example.test", "bob@example.test", "alice+x@example.test", "X@far.test", "x@far.test"]
        let addresses = try expected.map { try address($0) }
        #expect(directory.destination(of: try address("all@example.test")) == .forward(addresses))
    }
}
