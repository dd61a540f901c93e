import Testing

@testable import IMAPServer

#if canImport(Glibc)
import Glibc
#endif

/// Folders of others (RFC 4314). Alice has a folder `Shared` with two messages, and Bob tries.
@Suite struct RightsTests {
    private static let name = "user.alice@example^test.Shared"

    /// Alice and Bob, who has these rights to her folder.
    private static func run(
        _ rights: String,
        _ body: @escaping @Sendable (_ alice: TestClient, _ bob: TestClient, TestSystem) async throws -> Void
    ) async throws {
        try await TestSystem.run(sharesFolders: true) { system in
            let alice = try await system.client()
            for folder in ["Shared", "Shared.leaf", "Private"] { _ = try await alice.ok("CREATE \(folder)") }
            try await alice.append("Subject: one\r\n\r\nsecret word\r\n", to: "Shared")
            try await alice.append("Subject: two\r\n\r\nother\r\n", to: "Shared", "(\\Deleted) ")
            let bob = try await system.client(as: "bob")
            _ = try await bob.ok("CREATE Own")
            try await bob.append("Subject: mine\r\n\r\nx\r\n", to: "Own", "(\\Seen \\Deleted \\Flagged word) ")
            if !rights.isEmpty { _ = try await alice.ok("SETACL Shared bob@example.test \(rights)") }
            try await body(alice, bob, system)
        }
    }

    /// A command of Bob, the mailbox that he has selected for it, and the rights that it takes.
    struct Row: Sendable, CustomTestStringConvertible {
        var selected: String?
        let command: String
        let needs: String

        init(_ command: String, in selected: String? = nil, _ needs: String) {
            self.command = command
            self.selected = selected
            self.needs = needs
        }

        var testDescription: String { command }
    }

    /// Whatever stands here is refused where one of its rights is missing, though all others are there, and done with these alone.
    static let table = [
        Row("SELECT \(name)", "r"), Row("EXAMINE \(name)", "r"), Row("STATUS \(name) (MESSAGES UNSEEN SIZE)", "r"),
        Row("APPEND \(name) {12+}\r\nSubject: x\r\n", "i"), Row("CREATE \(name).new", "k"), Row("DELETE \(name)", "x"),
        Row("RENAME \(name).leaf \(name).other", "xk"),
        Row("GETACL \(name)", "a"), Row("LISTRIGHTS \(name) anyone", "a"), Row("SETACL \(name) anyone l", "a"),
        Row("DELETEACL \(name) anyone", "a"), Row("UID COPY 1 \(name)", in: "Own", "i"),
        Row("COPY 1 \(name)", in: "Own", "i"),
        Row("UID MOVE 1 \(name)", in: "Own", "i"), Row("COPY 1 Own", in: name, "r"), Row("MOVE 1 Own", in: name, "rte"),
        Row("UID COPY 1 \(name)", in: name, "ri"), Row("UID MOVE 1 Own", in: name, "rte"),
        Row("STORE 1 +FLAGS (\\Seen)", in: name, "rs"), Row("UID STORE 1 +FLAGS (\\Seen)", in: name, "rs"),
        Row("STORE 2 -FLAGS (\\Deleted)", in: name, "rt"), Row("STORE 1 +FLAGS (\\Flagged)", in: name, "rw"),
        Row("STORE 1 +FLAGS (keyword)", in: name, "rw"), Row("EXPUNGE", in: name, "re"),
        Row("UID EXPUNGE 2", in: name, "re"),
        Row("REPLACE 1 Own {12+}\r\nSubject: x\r\n", in: name, "rte"),
        Row("UID REPLACE 1 \(name) {12+}\r\nSubject: x\r\n", in: name, "rtei"),
        Row("FETCH 1 BODY.PEEK[]", in: name, "r"), Row("UID FETCH 1 (ENVELOPE PREVIEW)", in: name, "r"),
        Row("SEARCH TEXT secret", in: name, "r"),
        Row("SORT (SUBJECT) UTF-8 ALL", in: name, "r"), Row("THREAD REFS UTF-8 ALL", in: name, "r"),
        Row("CHECK", in: name, "r"),
        Row("CLOSE", in: name, "r"),
        Row("APPEND Own CATENATE (URL \"/\(name.replacing("^", with: "%5E"))/;UID=1\")", "r"),
    ]

    private static func answer(_ row: Row, _ bob: TestClient) async throws -> String {
        if let selected = row.selected {
            let answer = try await bob.command("SELECT \(selected)").last ?? ""
            guard answer.contains(" OK ") else { return answer }
        }
        return try await bob.command(row.command).last ?? ""
    }

    @Test(arguments: table) func eachCommandTakesItsRights(row: Row) async throws {
        try await Self.run("l") { alice, bob, _ in
            func give(_ rights: String) async throws {
                for folder in ["Shared", "Shared.leaf"] {
                    _ = try await alice.ok("SETACL \(folder) bob@example.test \(rights)")
                }
            }
            for missing in row.needs {
                try await give("lrswipkxtea".filter { $0 != missing })
                let refused = try await Self.answer(row, bob)
                #expect(refused.contains(" NO "), "without \(missing): \(refused)")
            }
            try await give(row.needs)
            let done = try await Self.answer(row, bob)
            #expect(done.contains(" OK "), "with \(row.needs) alone: \(done)")
        }
    }

    /// Who may not know of a mailbox is told the same as where there is none.
    @Test func whatIsNotShared() async throws {
        try await Self.run("") { alice, bob, _ in
            _ = try await alice.ok("SETACL Private bob@example.test a")
            _ = try await alice.ok("SETACL Private bob@example.test \"\"")
            for command in [
                "SELECT %", "STATUS % (MESSAGES)", "DELETE %", "RENAME % Own2", "RENAME % %2", "GETACL %", "MYRIGHTS %",
                "SETACL % bob@example.test lr", "LISTRIGHTS % anyone", "GETMETADATA % /shared/comment",
            ] {
                var answers: Set<String> = []
                for folder in ["Private", "Shared", "none"] {
                    let text = command.replacing("%", with: "user.alice@example^test.\(folder)")
                    let answer = try await bob.command(text).last ?? ""
                    answers.insert(String(answer.drop { $0 != " " }))
                }
                #expect(answers.count == 1 && answers.first?.hasPrefix(" NO ") == true, "\(command): \(answers)")
            }
            for owner in [
                "nobody@example^test", "alice@elsewhere^test", "alice", "mbox@example^test", "bob@example^test",
            ] {
                #expect(
                    try await bob.command("SELECT user.\(owner)").last?.contains(" NO [NONEXISTENT]") == true,
                    "\(owner)"
                )
            }
            #expect(
                try await bob.command("SELECT user.away@example^test.x").last?.contains(" NO [UNAVAILABLE]") == true
            )
            #expect(try await bob.command("SELECT user").last?.contains(" NO ") == true)
            #expect(try await bob.ok("LIST \"\" *").filter { $0.contains("user") } == [])
            #expect(try await bob.ok("ESEARCH IN (mailboxes \(Self.name)) ALL") == [])
        }
    }

    @Test func lists() async throws {
        try await Self.run("l") { alice, bob, _ in
            #expect(
                try await bob.ok("NAMESPACE") == [
                    "* NAMESPACE ((\"\" \".\")) ((\"user.\" \".\")) ((\"Public.\" \".\"))"
                ]
            )
            #expect(
                try await bob.ok("LIST \"\" *").filter { $0.contains("user") } == [
                    "* LIST (\\Noselect \\HasChildren) \".\" user",
                    "* LIST (\\Noselect \\HasChildren) \".\" user.alice@example^test",
                    "* LIST (\\HasNoChildren) \".\" \(Self.name)",
                ]
            )
            // RFC 8440
            let rights = try await bob.ok("LIST \"\" (Own user.*) RETURN (MYRIGHTS)").filter { $0.contains("MYRIGHTS") }
            #expect(rights == ["* MYRIGHTS Own lrswipkxteacd", "* MYRIGHTS \(Self.name) l"])
            _ = try await bob.ok("SUBSCRIBE \(Self.name)")
            #expect(try await bob.ok("LSUB \"\" *") == ["* LSUB () \".\" \(Self.name)"])
            _ = try await alice.ok("SETACL Shared.leaf anyone lr")
            #expect(try await bob.ok("LIST \"\" user.%.%.%").count == 1)
            _ = try await alice.ok("SETACL INBOX authenticated lr")
            #expect(
                try await bob.ok("LIST \"\" user.%").contains("* LIST (\\HasChildren) \".\" user.alice@example^test")
            )
            try await alice.append("Subject: x\r\n\r\nin the inbox\r\n")
            #expect(try await bob.ok("SELECT user.alice@example^test").contains("* 1 EXISTS"))
            #expect(try await bob.ok("ESEARCH IN (personal) TEXT inbox") == [])
            #expect(try await bob.ok("ESEARCH IN (subtree user) TEXT inbox").count == 1)
            // Alice sees nothing of herself there.
            #expect(try await alice.ok("LIST \"\" *").filter { $0.contains("user") } == [])
        }
    }

    @Test func listsOfRights() async throws {
        try await Self.run("lrd") { alice, bob, system in
            #expect(
                try await alice.ok("GETACL Shared") == [
                    "* ACL Shared alice@example.test lrswipkxteacd bob@example.test lrted"
                ]
            )
            _ = try await alice.ok("SETACL Shared bob@example.test +c")
            _ = try await alice.ok("SETACL Shared bob@example.test -et")
            _ = try await alice.ok("SETACL Shared -anyone r")
            #expect(
                try await alice.ok("GETACL Shared")
                    == ["* ACL Shared alice@example.test lrswipkxteacd bob@example.test lrkxc -anyone r"]
            )
            #expect(try await bob.ok("MYRIGHTS \(Self.name)") == ["* MYRIGHTS \(Self.name) lkxc"])
            #expect(try await alice.ok("MYRIGHTS INBOX") == ["* MYRIGHTS INBOX lrswipkxteacd"])
            #expect(
                try await alice.ok("LISTRIGHTS Shared bob@example.test")
                    == ["* LISTRIGHTS Shared bob@example.test \"\" l r s w i p k x t e a c d"]
            )
            #expect(try await alice.ok("LISTRIGHTS Shared owner") == ["* LISTRIGHTS Shared owner lrswipkxteacd"])
            _ = try await alice.ok("DELETEACL Shared bob@example.test")
            #expect(try await alice.ok("GETACL Shared") == ["* ACL Shared alice@example.test lrswipkxteacd -anyone r"])
            for wrong in [
                "SETACL Shared bob@example.test lQ", "SETACL Shared bob@example.test 1", "SETACL Shared \"\" l",
                "SETACL Shared $staff l",
            ] {
                #expect(try await alice.command(wrong).last?.contains(" BAD ") == true, "\(wrong)")
            }
            for refused in [
                "SETACL Shared nobody@example.test l", "SETACL Shared alice@example.test l", "DELETEACL Shared owner",
                "SETACL none anyone l",
                "SETACL Shared away@example.test l",
            ] { #expect(try await alice.command(refused).last?.contains(" NO ") == true, "\(refused)") }
            // As Dovecot has it.
            _ = try await alice.ok("SETACL Shared bob@example.test lrs")
            #expect(
                Self.read("\(system.directory)/mail/alice/.Shared/dovecot-acl")
                    == "-anyone r\nuser=bob@example.test lrs\n"
            )
            #expect(
                Self.read("\(system.directory)/mail/martlet-shares") == "alice@example.test\tuser=bob@example.test\n"
            )
            let mbox = try await system.client(as: "mbox")
            #expect(try await mbox.command("SETACL INBOX anyone l").last?.contains(" NO [CANNOT]") == true)
        }
    }

    private static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY)
        guard file >= 0 else { return nil }
        defer { Glibc.close(file) }
        var octets = [UInt8](repeating: 0, count: 4096)
        let count = Glibc.read(file, &octets, octets.count)
        return count >= 0 ? String(decoding: octets[..<count], as: UTF8.self) : nil
    }

    /// RFC 4314 §4, COPY and APPEND: flags that one may not set are left out.
    @Test(arguments: [
        ("i", ""), ("is", "\\Seen"), ("it", "\\Deleted"), ("iw", "\\Flagged word"),
        ("iwst", "\\Flagged \\Deleted \\Seen word"),
    ])
    func flagsOfWhatIsPutThere(rights: String, flags: String) async throws {
        try await Self.run(rights) { alice, bob, _ in
            _ = try await bob.ok("SELECT Own")
            _ = try await bob.ok("COPY 1 \(Self.name)")
            try await bob.append("Subject: x\r\n\r\nx\r\n", to: Self.name, "(\\Seen \\Deleted \\Flagged word) ")
            _ = try await alice.ok("EXAMINE Shared")
            for number in [3, 4] {
                let line = try await alice.ok("FETCH \(number) FLAGS")[0]
                let found = line.drop { $0 != "(" }.dropFirst().drop { $0 != "(" }.filter { $0 != "(" && $0 != ")" }
                #expect(
                    Set(found.split(separator: " ").filter { $0 != "\\Recent" }) == Set(flags.split(separator: " ")),
                    "\(line)"
                )
            }
        }
    }

    /// RFC 4314 §4, STORE, FETCH and CLOSE; §5.1.1, FLAGS.
    @Test func onlySomeFlags() async throws {
        try await Self.run("lrw") { alice, bob, _ in
            let selected = try await bob.ok("SELECT \(Self.name)")
            #expect(selected.contains { $0.contains("PERMANENTFLAGS (\\Answered \\Flagged \\Draft \\*)") })
            #expect(try await bob.command("STORE 1 +FLAGS (\\Seen)").last?.contains(" NO [NOPERM]") == true)
            #expect(
                try await bob.ok("STORE 1 +FLAGS (\\Seen \\Flagged \\Deleted)")[0].contains("FLAGS (\\Flagged") == true
            )
            // What may not be changed stays.
            #expect(
                try await bob.ok("STORE 2 FLAGS (\\Seen \\Answered)").last?.contains("\\Answered \\Deleted") == true
            )
            _ = try await bob.ok("FETCH 1 BODY[]")
            #expect(try await bob.ok("FETCH 1 FLAGS")[0].contains("\\Seen") == false)
            _ = try await bob.ok("CLOSE")
            #expect(try await alice.ok("STATUS Shared (MESSAGES)") == ["* STATUS Shared (MESSAGES 2)"])
            _ = try await alice.ok("SETACL Shared bob@example.test lr")
            #expect(try await bob.command("SELECT \(Self.name)").last?.contains("[READ-ONLY]") == true)
        }
    }

    /// Whoever loses the right to a mailbox that he has selected is sent away, also in IDLE.
    @Test func rightsThatAreTakenAway() async throws {
        try await Self.run("lrst") { alice, bob, system in
            _ = try await bob.ok("SELECT \(Self.name)")
            _ = try await alice.ok("SETACL Shared bob@example.test lrs")
            #expect(try await bob.ok("NOOP").contains { $0.contains("PERMANENTFLAGS (\\Seen)") })
            _ = try await alice.ok("DELETEACL Shared bob@example.test")
            try await bob.send("x NOOP\r\n")
            #expect(try await bob.lines(to: "x ").last?.contains(" OK ") == true)
            #expect(try await bob.line().hasPrefix("* BYE"))
        }
    }

    @Test func newFoldersAreAsTheOnesAboveThem() async throws {
        try await Self.run("lrk") { alice, bob, _ in
            _ = try await bob.ok("CREATE \(Self.name).new")
            #expect(try await alice.ok("GETACL Shared.new")[0].hasSuffix("bob@example.test lrkc"))
            #expect(try await bob.ok("STATUS \(Self.name).new (MESSAGES)").count == 1)
            _ = try await alice.ok("CREATE Shared.hers")
            #expect(try await bob.ok("MYRIGHTS \(Self.name).hers") == ["* MYRIGHTS \(Self.name).hers lrkc"])
            #expect(try await bob.command("CREATE user.alice@example^test.top").last?.contains(" NO ") == true)
            #expect(
                try await bob.command("CREATE \(Self.name).x (USE (\\Sent))").last?.contains(" NO [USEATTR]") == true
            )
            #expect(try await bob.command("RENAME Own \(Self.name).x").last?.contains(" NO [CANNOT]") == true)
        }
    }

    /// RFC 5464 §3.3
    @Test func annotations() async throws {
        try await Self.run("lw") { alice, bob, _ in
            _ = try await alice.ok("SETMETADATA Shared (/shared/comment \"all\" /private/comment \"hers\")")
            _ = try await bob.ok("SETMETADATA \(Self.name) (/private/comment \"his\")")
            let entries = "(/shared/comment /private/comment)"
            #expect(
                try await bob.ok("GETMETADATA \(Self.name) \(entries)")
                    == ["* METADATA \(Self.name) (/shared/comment \"all\" /private/comment \"his\")"]
            )
            #expect(
                try await alice.ok("GETMETADATA Shared \(entries)")
                    == ["* METADATA Shared (/shared/comment \"all\" /private/comment \"hers\")"]
            )
            for rights in ["l", "rswip", "kxtea"] {
                _ = try await alice.ok("SETACL Shared bob@example.test \(rights)")
                for command in [
                    "GETMETADATA \(Self.name) /shared/comment", "SETMETADATA \(Self.name) (/shared/comment \"x\")",
                ] {
                    #expect(try await bob.command(command).last?.contains(" NO ") == true, "\(command) with \(rights)")
                }
            }
        }
    }

    /// Room for what is put there is its owner's.
    @Test func quota() async throws {
        try await TestSystem.run(sharesFolders: true) { system in
            let owner = try await system.client(as: "limited")
            _ = try await owner.ok("SETACL INBOX bob@example.test lri")
            let bob = try await system.client(as: "bob")
            let message = "Subject: x\r\n\r\n" + String(repeating: "x", count: 15_000) + "\r\n"
            try await bob.append(message, to: "user.limited@example^test")
            #expect(
                try await bob.command("APPEND user.limited@example^test {\(message.utf8.count)+}\r\n\(message)").last?
                    .contains(
                        " NO [OVERQUOTA]"
                    ) == true
            )
            #expect(
                try await bob.ok("GETQUOTAROOT user.limited@example^test") == ["* QUOTAROOT user.limited@example^test"]
            )
            #expect(try await owner.ok("GETQUOTAROOT INBOX")[1].contains("STORAGE 15 20"))
            try await bob.append(message)
            try await bob.append(message)
        }
    }

    /// What the administrator gives to all, by files.
    @Test func foldersForAll() async throws {
        try await TestSystem.run(sharesFolders: true) { system in
            let alice = try await system.client()
            #expect(try await alice.ok("LIST \"\" Public.*") == [])
            #expect(try await alice.command("CREATE Public.News").last?.contains(" NO ") == true)
            let root = "\(system.directory)/mail/public"
            Self.write("user=alice@example.test lrwstipekxa\n", to: "\(root)/dovecot-acl")
            _ = try await alice.ok("CREATE Public.News")
            _ = try await alice.ok("SETACL Public.News anyone lrs")
            _ = try await alice.ok("SETACL Public.News alice@example.test lrswipkxtea")
            try await alice.append("Subject: news\r\n\r\nx\r\n", to: "Public.News")
            let bob = try await system.client(as: "bob")
            #expect(
                try await bob.ok("LIST \"\" Public*") == [
                    "* LIST (\\Noselect \\HasChildren) \".\" Public", "* LIST (\\HasNoChildren) \".\" Public.News",
                ]
            )
            #expect(try await bob.ok("SELECT Public.News").contains("* 1 EXISTS"))
            #expect(try await bob.command("EXPUNGE").last?.contains(" NO [NOPERM]") == true)
            #expect(try await bob.command("SELECT Public").last?.contains(" NO ") == true)
            #expect(try await bob.command("SELECT Public.INBOX").last?.contains(" NO [NONEXISTENT]") == true)
            #expect(
                try await alice.ok("GETACL Public.News") == [
                    "* ACL Public.News alice@example.test lrswipkxteacd anyone lrs"
                ]
            )
        }
    }

    private static func write(_ text: String, to path: String) {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        #expect(Glibc.write(file, text, text.utf8.count) == text.utf8.count)
        Glibc.close(file)
    }

    @Test func whereNothingIsShared() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            let names = try await client.ok("CAPABILITY")[0].split(separator: " ")
            for name in ["ACL", "RIGHTS=kxte", "LIST-MYRIGHTS"] { #expect(!names.contains(Substring(name))) }
            for command in ["GETACL INBOX", "MYRIGHTS INBOX", "LIST \"\" * RETURN (MYRIGHTS)"] {
                #expect(try await client.command(command).last?.contains(" BAD ") == true)
            }
            #expect(try await client.ok("NAMESPACE") == ["* NAMESPACE ((\"\" \".\")) NIL NIL"])
            // The names are a user's own there.
            _ = try await client.ok("CREATE user.alice")
            _ = try await client.ok("SELECT user.alice")
        }
        try await TestSystem.run(without: ["ACL"], sharesFolders: true) { system in
            let client = try await system.client()
            #expect(try await client.command("GETACL INBOX").last?.contains(" BAD ") == true)
            #expect(try await client.ok("CAPABILITY")[0].contains("RIGHTS=") == false)
        }
    }
}
