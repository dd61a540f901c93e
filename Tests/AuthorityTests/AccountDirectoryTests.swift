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

    private func directory(_ aliases: String? = nil) throws -> AccountDirectory {
        AccountDirectory(
            accounts: try AccountTable(text: accounts, file: "users"),
            aliases: try AliasTable(text: aliases ?? self.aliases, file: "aliases"),
            domains: ["example.test", "other.test"],
            lists: [
                "staff": try MailingList(text: staff, file: "staff"),
                "self": try MailingList(text: "news", file: "self"),
            ]
        )
    }

    private let staff = """
        # comment
        alice, carol@example.net

        "a,b"@example.net
        bob

        """

    /// Lists in files, and their owners.
    @Test(arguments: [
        (
            "news: :include:staff\n", "news@example.test",
            "forward alice@example.test carol@example.net \"a,b\"@example.net Bob@Example.test"
        ),
        (
            "news: :Include:staff, dave@example.net\nowner-news: alice\n", "news+x@example.test",
            "forward alice@example.test carol@example.net \"a,b\"@example.net Bob@Example.test dave@example.net, owner owner-news@example.test"
        ),
        // An address that is somebody's, of another domain, or of nobody's.
        (
            "news: alice, bob\nowner-news@other.test: alice\n", "news@example.test",
            "forward alice@example.test Bob@Example.test"
        ),
        (
            "news: alice, bob\n@example.test: alice\n", "news@example.test",
            "forward alice@example.test Bob@Example.test"
        ),
        (
            "owner-news: alice, bob\nowner-owner-news: alice\n", "owner-news@example.test",
            "forward alice@example.test Bob@Example.test"
        ),
        // It's a list of which nothing is known, whatever else is in the alias.
        ("news: alice, :include:missing\n", "news@example.test", "unknown now"),
        ("all: news, alice\nnews: :include:missing\n", "all@example.test", "unknown now"),
        ("news: :include:self\n", "news@example.test", "loop"),
        (
            "news: :include:self, :include:staff, :include:self\n", "news@example.test",
            "forward alice@example.test carol@example.net \"a,b\"@example.net Bob@Example.test"
        ),
    ])
    func lists(aliases: String, address: String, expected: String) throws {
        #expect(try lookUp(address, aliases: aliases) == expected)
    }

    @Test func faultyLists() throws {
        let error = #expect(throws: TableError.self) {
            _ = try MailingList(text: "alice\n:include:x\na b\n|cat\nfine@example.net\n/file\n", file: "list")
        }
        #expect(error?.lines.map(\.number) == [2, 3, 4, 6])
        // Half written, as editors do it: mail waits.
        #expect(throws: TableError.self) { _ = try MailingList(text: "# nobody yet\n", file: "list") }
        // The file may be another one than it should be: nothing of it goes into a log.
        let secret = #expect(throws: TableError.self) { _ = try MailingList(text: "ann:$argon2id$x:y z\n", file: "l") }
        #expect(secret.map { !"\($0)".contains("argon2id") } ?? false)
        let many = (0...MailingList.maximumAddresses).map { "a\($0)@example.net\n" }.joined()
        #expect(throws: TableError.self) { _ = try MailingList(text: many, file: "list") }
        let most = many.split(separator: "\n").dropLast().joined(separator: "\n")
        #expect(try MailingList(text: most, file: "list").addresses.count == MailingList.maximumAddresses)
    }

    private func address(_ text: String) throws -> MailAddress { try MailAddress(parsing: text.utf8) }

    /// What an address leads to, in a word.
    private func lookUp(_ text: String, aliases: String? = nil, isExpanded: Bool = false) throws -> String {
        switch try directory(aliases).destination(of: try address(text), isExpanded: isExpanded) {
        case .mailbox(let account, let rest): return "mailbox \(account.mailbox)" + (rest.map { " +\($0)" } ?? "")
        case .forward(let list, let owner):
            let text = "forward " + list.map(\.description).joined(separator: " ")
            return owner.map { "\(text), owner \($0)" } ?? text
        case .foreign: return "foreign"
        case .unknown: return "unknown"
        case .loop: return "loop"
        case .unknownNow: return "unknown now"
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
            "forward alice@example.test Bob@Example.test carol@example.net dave@example.net"
        ),
        ("team+x@example.test", "forward alice@example.test Bob@Example.test carol@example.net dave@example.net"),
        ("round@example.test", "loop"), ("self@example.test", "mailbox example.test/alice"),
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
        ("a@b.test:x\na@B.test:x\n", 2), ("a@b.test:x:m:mbox:0:more", 1), ("a\u{85}@b.test:x", 1),
        ("a@b.test:x\n\u{feff}c@b.test:x\n", 2), ("a@b.test:x:m/../n", 1), ("a@b.test:x:m/./n", 1),
    ])
    func faultyUsersNameTheirLine(text: String, line: Int) {
        #expect {
            _ = try AccountTable(text: text, file: "users")
        } throws: { ($0 as? TableError)?.lines.map(\.number) == [line] }
    }

    @Test(arguments: [
        ("team alice\n", 1), ("# x\nteam:\n", 2), ("team: a, , b\n", 1), ("a: b\nA: c\n", 2), ("a: <>\n", 1),
        ("a, b: c\n", 1), ("a: \"|/usr/bin/vacation bob@example.test\"\n", 1), ("a: |cat\n", 1),
        ("a: /var/mail/b\n", 1),
        ("a: :include:\n", 1), ("a: b,\n  c,\n  \"/dev/null\"\n", 3), ("a: b c\n", 1), (": b\n", 1),
        ("a: b\n c@@d\n", 1), ("@: b\n", 1), ("a b: c\n", 1), ("a: \\b\n", 1),
    ])
    func faultyAliasesNameTheirLine(text: String, line: Int) {
        #expect {
            _ = try AliasTable(text: text, file: "aliases")
        } throws: { ($0 as? TableError)?.lines.map(\.number) == [line] }
    }

    /// An administrator mends all of them at once.
    @Test func allFaultyLinesAreNamed() throws {
        let aliases = "a, b: c\nfine: alice\nd: |x\ne: f,\n  :include:\n"
        let error = #expect(throws: TableError.self) { _ = try AliasTable(text: aliases, file: "aliases") }
        #expect(error?.lines.map(\.number) == [1, 3, 5])
        #expect(error?.description.contains("aliases:3: \"|x\"") == true)
        let users = (0..<300).map { "user\($0)\n" }.joined()
        let many = #expect(throws: TableError.self) { _ = try AccountTable(text: users, file: "users") }
        #expect(many?.count == 300 && many?.lines.count == 100)
        #expect((many?.description.utf8.count ?? .max) < 1000)
    }

    /// Two accounts never have octets in common: who has one mailbox reads no other.
    @Test(arguments: [
        ("a/b@x.test", "a_b@x.test"), ("a@x.test:h:one", "b@x.test:h:one"), ("a@x.test:h:one", "b@x.test:h:One"),
        ("\u{e9}@x.test", "\u{c9}@x.test"), ("a@x.test:h:\u{e9}", "b@x.test:h:e\u{301}"),
        ("a@x.test:h:stra\u{df}e", "b@x.test:h:STRASSE"), ("a@x.test:h:x", "b@x.test:h:x/sub"),
        ("a@x.test:h:x.test", "b@x.test"), ("a@x.test:h:x/.Sent", "b@x.test:h:x"),
        ("carol@x.test:h::mbox", "carol.lock@x.test"), ("c@x.test:h:c:mbox", "d@x.test:h:c.martlet-append:mbox"),
        ("c@x.test:h:c:mbox", "d@x.test:h:C.LOCK/below"), ("c@x.test:h:c:mbox", "d@x.test:h:c.lock.1234"),
        ("c@x.test:h:c:mbox", "d@x.test:h:c.martlet-uidlist.lock"), ("c@x.test:h:c:mbox", "d@x.test:h:c.pop3-lock"),
        ("c@x.test:h:c:mbox", "d@x.test:h:c.lock.1234/below"), ("c@x.test:h:c.lock:mbox", "d@x.test:h:c.lock.lock"),
    ])
    func mailboxesThatMeetAreRefused(one: String, other: String) throws {
        for (first, second) in [(one, other), (other, one)] {
            let error = #expect(throws: TableError.self) {
                _ = try AccountTable(
                    text: (first.contains(":") ? first : first + ":h") + "\n"
                        + (second.contains(":") ? second : second + ":h") + "\n",
                    file: "users"
                )
            }
            #expect(error?.lines.map(\.number) == [2])
        }
    }

    /// A name that only begins like that of an mbox's lock is nobody's.
    @Test(arguments: ["carol.lockwood", "carol.locke", "carol.lock-smith/below", "carol.pop3-locks", "carol.martlet"])
    func namesLikeALockAreFine(_ mailbox: String) throws {
        for text in [
            "carol@x.test:h:carol:mbox\nc@x.test:h:\(mailbox):mbox\n",
            "c@x.test:h:\(mailbox)\ncarol@x.test:h:carol:mbox\n",
        ] { #expect(try AccountTable(text: text, file: "users").all.count == 2) }
    }

    @Test func mailboxesSideBySideAreFine() throws {
        let table = try AccountTable(
            text: "carol@x.test:h\ncarol.lock@x.test:h\na@x.test:h:a/b\nb@x.test:h:a/bc:mbox\nc@x.test:h:a/b.c\n",
            file: "users"
        )
        #expect(table.all.count == 5)
    }

    /// Keep and forward.
    @Test(arguments: [
        ("bob: bob, away@example.net\n", "bob@example.test", "forward Bob@Example.test away@example.net"),
        (
            "bob: BOB@EXAMPLE.test, away@example.net\n", "bob+x@example.test",
            "forward Bob+x@Example.test away@example.net"
        ),
        ("bob@example.test: bob+kept\n", "bob@example.test", "mailbox example.test/bob.mbox +kept"),
        // An alias of the address with the extension, which has its own list.
        (
            "bob+lists: bob+lists, away@example.net\n", "bob+lists@example.test",
            "forward Bob+lists@Example.test away@example.net"
        ),
        ("bob+lists: bob+lists\n", "bob+lists@example.test", "mailbox example.test/bob.mbox +lists"),
        (
            "bob+lists: team\nteam: Bob+Lists, away@example.net\n", "bob+lists@example.test",
            "forward Bob+Lists@Example.test away@example.net"
        ),
        ("bob: away@example.net\n", "bob@example.test", "forward away@example.net"),
        ("bob: team\nteam: bob, alice\n", "bob@example.test", "forward Bob@Example.test alice@example.test"),
        (
            "bob: bob, away@example.net\nteam: bob, alice\n", "team@example.test",
            "forward Bob@Example.test away@example.net alice@example.test"
        ),
    ])
    func anAliasWinsOverAnAccount(aliases: String, text: String, expected: String) throws {
        #expect(try lookUp(text, aliases: aliases) == expected)
        #expect(try lookUp("bob@example.test", aliases: aliases, isExpanded: true) == "mailbox example.test/bob.mbox")
    }

    @Test(arguments: [
        ("a: nobody\n", "unknown"), ("a: nobody, b\nb: no.one\n", "unknown"), ("a: nobody@other.test\n", "unknown"),
        ("a: nobody, alice\n", "forward nobody@example.test alice@example.test"),
        ("a: nobody, x@example.net\n", "forward nobody@example.test x@example.net"), ("a: b\nb: a\n", "loop"),
        // One copy for each mailbox.
        (
            "a: bob, Bob@Example.Test, bob@EXAMPLE.test, bob+x, alice\n",
            "forward Bob@Example.test alice@example.test"
        ),
        ("a: bob, b\nb: bob+y, BOB\n", "mailbox example.test/bob.mbox"),
        ("a: x@example.net, x@EXAMPLE.NET\n", "forward x@example.net"),
    ])
    func targetsThatExist(aliases: String, expected: String) throws {
        #expect(try lookUp("a@example.test", aliases: aliases) == expected)
    }

    @Test(arguments: [
        ("bob: away@example.net\n", 1), ("# x\nbob@example.test: alice\n", 2), ("bob: bob, away@example.net\n", nil),
        ("bob: BOB@example.test\n", nil), ("bob: team\nteam: bob, alice\n", nil), ("bob@other.test: alice\n", nil),
        ("bob: nobody\n", 1), ("@example.test: alice\n", nil),
    ])
    func accountsBehindAnAliasAreKnown(aliases: String, line: Int?) throws {
        let directory = try directory(aliases)
        let bob = try #require(directory.account(user: "bob"))
        #expect(directory.aliasInstead(of: bob)?.line == line)
    }

    @Test func targetsThatAreMissingAreKnown() throws {
        let aliases = """
            a: nobody, alice, x@example.net
            b@other.test: alice, bob@example.test
            c: a, +x, lost@other.test

            """
        let directory = try directory(aliases)
        let missing = directory.aliases.all.map { directory.missingTargets(of: $0).map(\.description) }
        #expect(
            missing == [
                ["nobody@example.test"], ["alice@other.test"], ["+x@example.test", "lost@other.test"],
            ]
        )
    }

    /// Each of these aliases leads to the next one ten times over.
    @Test(.timeLimit(.minutes(1))) func aliasesThatNestRepeatedlyCostWhatTheyAre() throws {
        let nested = (0..<9).map { level in
            (0..<10).map { "n\(level)-\($0): " + (0..<10).map { "n\(level + 1)-\($0)" }.joined(separator: ",") }
                .joined(separator: "\n")
        }
        let last = (0..<10).map { "n9-\($0): bob" }.joined(separator: "\n")
        let aliases = (nested + [last]).joined(separator: "\n") + "\n"
        #expect(try lookUp("n0-0@example.test", aliases: aliases) == "mailbox example.test/bob.mbox")
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
