import Testing

@testable import IMAPServer

#if canImport(Glibc)
import Glibc
#endif

private let message = "From: Bob <bob@example.test>\r\nSubject: hello\r\n\r\nbody text\r\n"

/// ENABLE and what it switches on.
@Suite struct Rev2Tests {
    @Test func capabilitiesBeforeAndAfterLogin() async throws {
        try await TestSystem.run { system in
            let client = try await system.client(loggedIn: false)
            let before = try await client.ok("CAPABILITY")[0].split(separator: " ").map(String.init)
            #expect(
                Set(["IMAP4rev1", "IMAP4rev2", "LITERAL+", "ENABLE", "SASL-IR", "AUTH=PLAIN"]).isSubset(of: before)
            )
            #expect(!before.contains("SORT") && !before.contains("LITERAL-") && !before.contains("LOGINDISABLED"))
            let login = try await client.command("LOGIN alice secret")[0]
            let after = try await client.ok("CAPABILITY")[0].split(separator: " ").map(String.init)
            for name in after.dropFirst(2) { #expect(login.contains(" \(name)"), "\(name)") }
            let announced = [
                "IDLE", "SORT", "SORT=DISPLAY", "THREAD=REFERENCES", "COMPRESS=DEFLATE", "SEARCHRES", "WITHIN",
                "BINARY",
                "LIST-EXTENDED", "LIST-STATUS", "MULTIAPPEND", "CATENATE", "REPLACE", "QUOTA", "PREVIEW", "PARTIAL",
                "UTF8=ACCEPT", "UIDONLY", "MULTISEARCH", "APPENDLIMIT=1048576", "CONDSTORE", "QRESYNC",
            ]
            #expect(Set(announced).isSubset(of: after))
            // What is of no use any more isn't announced.
            for name in ["SASL-IR", "AUTH=PLAIN"] {
                #expect(!after.contains(name))
            }
        }
    }

    /// What the configuration has cut is neither announced nor understood.
    @Test func cutCapabilities() async throws {
        let cut = [
            "sort", "IDLE", "Compress=Deflate", "SEARCHRES", "WITHIN", "binary", "MULTIAPPEND", "LITERAL+", "IMAP4rev2",
            "QUOTA", "LIST-EXTENDED", "ID", "MOVE", "PREVIEW", "REPLACE", "CATENATE", "STATUS=SIZE", "NAMESPACE",
        ]
        try await TestSystem.run(without: cut) { system in
            let stranger = try await system.client(loggedIn: false)
            #expect(try await stranger.command("ID NIL")[0].contains(" BAD "))
            let client = try await system.client()
            let names = try await client.ok("CAPABILITY")[0].uppercased().split(separator: " ").map(String.init)
            for name in cut { #expect(!names.contains(name.uppercased()), "\(name)") }
            #expect(names.contains("LITERAL-") && names.contains("THREAD=REFS"))
            try await client.append(message)
            _ = try await client.ok("SELECT INBOX")
            for command in [
                "IDLE", "SORT (DATE) UTF-8 ALL", "COMPRESS DEFLATE", "SEARCH RETURN (SAVE) ALL", "SEARCH OLDER 1",
                "FETCH $ FLAGS", "FETCH 1 BINARY[1]", "GETQUOTAROOT INBOX", "LIST (SUBSCRIBED) \"\" *", "ID NIL",
                "MOVE 1 x", "FETCH 1 PREVIEW", "STATUS INBOX (SIZE)", "NAMESPACE",
            ] {
                #expect(try await client.command(command).last?.contains(" BAD ") == true, "\(command)")
            }
            let more = ["APPEND INBOX {1+}\r\na {1+}\r\nb", "APPEND INBOX ~{1+}\r\na", "REPLACE 1 INBOX {1+}\r\na"]
            for command in more + ["APPEND INBOX CATENATE (TEXT {1+}\r\na)"] {
                #expect(try await client.command(command).last?.contains(" BAD ") == true, "\(command)")
            }
        }
    }

    /// Small literals alone aren't asked for.
    @Test func smallLiterals() async throws {
        try await TestSystem.run(without: ["LITERAL+"]) { system in
            let client = try await system.client()
            let large = String(repeating: "x", count: 5000)
            #expect(try await client.command("APPEND INBOX {5000+}\r\n\(large)").last?.contains("[TOOBIG]") == true)
            try await client.append(message)
        }
        #expect(
            Capabilities.unknown(["SORT", "nonsense", "IMAP4rev1", "condstore"]) == ["nonsense", "IMAP4rev1"]
        )
    }

    /// RFC 9051, appendix E.
    @Test func rev2() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            #expect(try await client.ok("ENABLE NONSENSE") == ["* ENABLED"])
            #expect(try await client.ok("ENABLE imap4rev2 X") == ["* ENABLED IMAP4rev2"])
            try await client.append(message)
            _ = try await client.ok("CREATE \"Entwürfe & mehr\"")
            let selected = try await client.ok("SELECT INBOX")
            #expect(selected.contains("* 1 EXISTS") && selected.contains("* LIST () \".\" INBOX"))
            #expect(!selected.contains { $0.contains("RECENT") || $0.contains("UNSEEN") })
            #expect(try await client.ok("FETCH 1 FLAGS") == ["* 1 FETCH (FLAGS ())"])
            #expect(try await client.ok("SEARCH ALL")[0].hasSuffix(") ALL 1"))
            #expect(try await client.ok("UID SEARCH UNSEEN")[0].hasSuffix(") UID ALL 1"))
            #expect(
                try await client.ok("LIST \"\" \"Entw*\"") == ["* LIST (\\HasNoChildren) \".\" \"Entwürfe & mehr\""]
            )
            #expect(
                try await client.ok("STATUS \"Entwürfe & mehr\" (MESSAGES DELETED SIZE)")
                    == ["* STATUS \"Entwürfe & mehr\" (MESSAGES 0 DELETED 0 SIZE 0)"]
            )
            let again = try await client.ok("SELECT \"Entwürfe & mehr\"")
            #expect(again[0].hasPrefix("* OK [CLOSED]"))
            // To others it has the name that it had to them.
            let old = try await system.client()
            #expect(try await old.ok("LIST \"\" E*") == ["* LIST (\\HasNoChildren) \".\" \"Entw&APw-rfe &- mehr\""])
            #expect(try await old.ok("SELECT INBOX").contains("* 1 RECENT") == false)
        }
    }

    /// RFC 9051 §9, media-message: message/global has its envelope there.
    @Test func globalMessages() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await client.append("Content-Type: message/global\r\n\r\nSubject: inner\r\n\r\nx\r\n")
            _ = try await client.ok("SELECT INBOX")
            #expect(try await client.ok("FETCH 1 BODY")[0].contains("inner") == false)
            _ = try await client.ok("ENABLE IMAP4rev2")
            #expect(try await client.ok("FETCH 1 BODY")[0].contains("\"inner\""))
        }
    }

    /// RFC 6855 §3
    @Test func utf8Accept() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            #expect(try await client.ok("ENABLE UTF8=ACCEPT") == ["* ENABLED UTF8=ACCEPT"])
            _ = try await client.ok("CREATE \"日本\"")
            #expect(try await client.ok("LIST \"\" \"日*\"") == ["* LIST (\\HasNoChildren) \".\" \"日本\""])
            let text = "Subject: grüße\r\n\r\nx\r\n"
            _ = try await client.ok("APPEND \"日本\" UTF8 (~{\(text.utf8.count)+}\r\n\(text))")
            _ = try await client.ok("SELECT \"日本\"")
            #expect(try await client.command("SEARCH CHARSET UTF-8 ALL").last?.contains(" BAD ") == true)
            #expect(try await client.ok("SEARCH SUBJECT \"GRÜSSE\"") == ["* SEARCH"])
            #expect(try await client.ok("SEARCH SUBJECT \"GRÜßE\"") == ["* SEARCH 1"])
        }
    }

    /// RFC 9586
    @Test func uidOnly() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            for _ in 0..<4 { try await client.append(message) }
            #expect(try await client.ok("ENABLE UIDONLY") == ["* ENABLED UIDONLY"])
            _ = try await client.ok("SELECT INBOX")
            for command in [
                "FETCH 1 FLAGS", "STORE 1 FLAGS ()", "SEARCH ALL", "UID SEARCH 1:2", "COPY 1 x", "MOVE 1 x",
            ] {
                #expect(try await client.command(command).last?.contains("BAD [UIDREQUIRED]") == true, "\(command)")
            }
            #expect(try await client.ok("UID FETCH 2:3 FLAGS")[0].hasPrefix("* 2 UIDFETCH (FLAGS ("))
            #expect(
                try await client.ok("UID STORE 2:3 +FLAGS (\\Deleted)")[0].hasPrefix("* 2 UIDFETCH (FLAGS (\\Deleted")
            )
            #expect(try await client.ok("EXPUNGE").contains("* VANISHED 2:3"))
            #expect(try await client.ok("UID SEARCH ALL") == ["* SEARCH 1 4"])
            let other = try await system.client()
            _ = try await other.ok("SELECT INBOX")
            _ = try await other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
            _ = try await other.ok("EXPUNGE")
            #expect(try await client.ok("NOOP").contains("* VANISHED 1"))
        }
    }

    /// Names that can't be are refused; they are no error in the command.
    @Test func impossibleNames() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            for name in ["!#$&'+", "\"\"", "a..b", "a/b", "&AB-", "\"a*\"", "\(String(repeating: "x", count: 300))"] {
                for command in ["SELECT \(name)", "CREATE \(name)", "SUBSCRIBE \(name)", "DELETE \(name)"] {
                    #expect(try await client.command(command).last?.contains(" NO ") == true, "\(command)")
                }
            }
            #expect(try await client.command("STATUS &AB- (MESSAGES)").last?.contains(" NO ") == true)
            #expect(try await client.command("APPEND !#$&'+ {1+}\r\nx").last?.contains(" NO ") == true)
        }
    }

    @Test func idBeforeLogin() async throws {
        try await TestSystem.run { system in
            let client = try await system.client(loggedIn: false)
            let value = String(repeating: "v", count: 1024)
            let fields = (10..<40).map { "\"field-\($0)\" \"\(value)\"" }.joined(separator: " ")
            #expect(try await client.ok("ID (\(fields))")[0].hasPrefix("* ID ("))
            #expect(try await client.command("APPEND INBOX {5+}\r\nabcde").last?.contains(" BAD ") == true)
            #expect(try await client.command("APPEND INBOX CATENATE (URL x)").last?.contains(" BAD ") == true)
            _ = try await client.ok("LOGIN alice secret")
        }
    }

    /// The addresses that ENVELOPE shows are found, whatever comments stand in them.
    @Test func addressesWithComments() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await client.append("From: <a-b (x)@ (y) c.test>\r\n\r\nx\r\n")
            _ = try await client.ok("SELECT INBOX")
            let envelope = try await client.ok("FETCH 1 ENVELOPE")[0]
            #expect(envelope.contains(" NIL \"a-b\" \"c.test\"))"), "\(envelope)")
            #expect(try await client.ok("SEARCH FROM a-b@c.test") == ["* SEARCH 1"])
            #expect(try await client.ok("SEARCH FROM a-b@d.test") == ["* SEARCH"])
        }
    }

    // MARK: A mailbox that goes

    /// A client that has made a mailbox with a message in it.
    private static func clientWithWork(_ system: TestSystem) async throws -> TestClient {
        let client = try await system.client()
        _ = try await client.ok("CREATE Work")
        try await client.append(message, to: "Work")
        return client
    }

    @Test func aSelectedMailboxIsDeletedByAnother() async throws {
        try await TestSystem.run { system in
            let one = try await Self.clientWithWork(system)
            let command = try await system.client()
            let idle = try await system.client()
            let refused = try await system.client()
            for client in [command, idle, refused] { _ = try await client.ok("SELECT Work") }
            try await idle.send("i IDLE\r\n")
            #expect(try await idle.line().hasPrefix("+"))
            _ = try await one.ok("DELETE Work")
            let answer = try await command.command("STATUS INBOX (MESSAGES)")
            #expect(answer.last?.contains(" OK ") == true)
            #expect(try await command.line().hasPrefix("* BYE [NONEXISTENT]"))
            #expect(
                try await refused.command("FETCH 1 BODY[]").last.map { $0.contains(" NO ") || $0.contains(" OK ") }
                    == true
            )
            #expect(try await refused.line().hasPrefix("* BYE [NONEXISTENT]"))
            #expect(try await idle.lines(to: "* BYE").last?.hasPrefix("* BYE [NONEXISTENT]") == true)
        }
    }

    /// Whoever deletes his own selected mailbox hears that it worked, and has nothing selected.
    @Test func ownMailboxDeletedAndRenamed() async throws {
        try await TestSystem.run { system in
            let client = try await Self.clientWithWork(system)
            _ = try await client.ok("SELECT Work")
            _ = try await client.ok("RENAME Work Play")
            #expect(try await client.ok("FETCH 1 UID") == ["* 1 FETCH (UID 1)"])
            #expect(try await client.command("DELETE Play").last?.contains(" OK ") == true)
            #expect(try await client.command("FETCH 1 UID").last?.contains(" BAD ") == true)
            _ = try await client.ok("SELECT INBOX")
        }
    }

    @Test func aSelectedMailboxIsRenamedByAnother() async throws {
        try await TestSystem.run { system in
            let one = try await Self.clientWithWork(system)
            let two = try await system.client()
            _ = try await two.ok("SELECT Work")
            _ = try await one.ok("RENAME Work Play")
            _ = try await two.ok("NOOP")
            try await one.append(message, to: "Play")
            #expect(try await two.ok("NOOP").contains("* 2 EXISTS"))
            #expect(try await two.ok("FETCH 2 UID") == ["* 2 FETCH (UID 2)"])
        }
    }

    /// Another mailbox of the same name isn't the one that was selected.
    @Test func aSelectedMailboxIsMadeAgain() async throws {
        try await TestSystem.run { system in
            let one = try await Self.clientWithWork(system)
            let two = try await system.client()
            _ = try await two.ok("SELECT Work")
            _ = try await one.ok("DELETE Work")
            _ = try await one.ok("CREATE Work")
            let answer = try await two.command("STORE 1 +FLAGS (\\Seen)")
            #expect(answer.count == 1)
            #expect(try await two.line().hasPrefix("* BYE [NONEXISTENT]"))
        }
    }
}
