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
}
