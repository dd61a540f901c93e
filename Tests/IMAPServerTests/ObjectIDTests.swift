import Testing

@testable import IMAPServer
@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

/// OBJECTID (RFC 8474) and SAVEDATE (RFC 8514).
@Suite struct ObjectIDTests {
    private static func value(_ name: String, _ lines: [String]) -> String? {
        for line in lines {
            if let start = line.firstRange(of: "\(name) (") {
                return String(line[start.upperBound...].prefix { $0 != ")" })
            }
        }
        return nil
    }

    @Test func mailboxesKeepTheirIdentifiers() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            let made = try #require(Self.value("MAILBOXID", try await client.command("CREATE one")))
            #expect(Self.value("MAILBOXID", try await client.ok("SELECT one")) == made)
            #expect(Self.value("MAILBOXID", try await client.ok("STATUS one (MAILBOXID)")) == made)
            #expect(
                try await client.ok("STATUS one (MESSAGES MAILBOXID)") == [
                    "* STATUS one (MESSAGES 0 MAILBOXID (\(made)))"
                ]
            )
            _ = try await client.ok("RENAME one two")
            #expect(Self.value("MAILBOXID", try await client.ok("EXAMINE two")) == made)
            let list = try await client.ok("LIST \"\" two RETURN (STATUS (MAILBOXID))")
            #expect(Self.value("MAILBOXID", list) == made)
            let other = try #require(Self.value("MAILBOXID", try await client.command("CREATE one")))
            let inbox = try #require(Self.value("MAILBOXID", try await client.ok("STATUS INBOX (MAILBOXID)")))
            #expect(Set([made, other, inbox]).count == 3)
            #expect(made.first == "F" && made.count == 33)
        }
    }

    @Test func messagesKeepTheirIdentifiersWhereverTheyGo() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            _ = try await client.ok("CREATE other")
            for text in ["a", "b"] { try await client.append("Subject: \(text)\r\n\r\n\(text)\r\n") }
            _ = try await client.ok("SELECT INBOX")
            let first = try #require(Self.value("EMAILID", try await client.ok("FETCH 1 EMAILID")))
            let second = try #require(Self.value("EMAILID", try await client.ok("FETCH 2 EMAILID")))
            #expect(first != second && first.first == "M")
            _ = try await client.ok("COPY 1 other")
            _ = try await client.ok("MOVE 2 other")
            _ = try await client.ok("COPY 1 INBOX")
            #expect(try await client.ok("SEARCH EMAILID \(first)") == ["* SEARCH 1 2"])
            _ = try await client.ok("SELECT other")
            #expect(
                try await client.ok("FETCH 1:* EMAILID")
                    == ["* 1 FETCH (EMAILID (\(first)))", "* 2 FETCH (EMAILID (\(second)))"]
            )
            #expect(try await client.ok("SEARCH NOT EMAILID \(first)") == ["* SEARCH 2"])
            #expect(try await client.ok("SEARCH EMAILID Mnone") == ["* SEARCH"])
            // Dovecot's list has them: another process reads them there.
            let location = try #require(MailboxLocation(path: "alice", format: .maildir))
            let store = try MailDirectory("\(system.directory)/mail", on: .makeKernel()).open(location)
            let folder = try store.open(try #require(FolderName("other")))
            #expect([1, 2].map { folder.contentIdentifier(of: $0).map { "M" + $0 } } == [first, second])
        }
    }

    @Test func answersAreInTheThreadOfTheFirst() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            for fields in [
                "Message-ID: <1@x>", "Message-ID: <2@x>\r\nIn-Reply-To: <1@x>",
                "Message-ID: <3@x>\r\nReferences: <1@x> <2@x>", "Message-ID: <4@x>", "Subject: none",
            ] { try await client.append("\(fields)\r\n\r\nx\r\n") }
            _ = try await client.ok("SELECT INBOX")
            for _ in 0..<2 {
                let threads = try await client.ok("FETCH 1:5 THREADID").map { Self.value("THREADID", [$0]) }
                let first = try #require(threads[0])
                #expect(threads[1] == first && threads[2] == first)
                #expect(Set(threads).count == 3)
                #expect(try await client.ok("SEARCH THREADID \(first)") == ["* SEARCH 1 2 3"])
                #expect(try await client.ok("SEARCH THREADID Tnone") == ["* SEARCH"])
            }
        }
    }

    @Test(arguments: ["alice", "mbox"]) func datesOfSaving(user: String) async throws {
        try await TestSystem.run { system in
            let client = try await system.client(as: user)
            if user == "mbox" {
                let path = "\(system.directory)/mail/mbox"
                let text = "From a\n\na\n\n"
                let file = open(path, O_WRONLY | O_CREAT, 0o600)
                #expect(write(file, text, text.utf8.count) == text.utf8.count)
                close(file)
            } else {
                try await client.append("a\r\n", to: "INBOX", "\"01-Feb-1999 10:00:00 +0000\" ")
            }
            _ = try await client.ok("SELECT INBOX (CONDSTORE)")
            if user == "mbox" {
                // Nobody knows when what was there came.
                #expect(try await client.ok("FETCH 1 SAVEDATE") == ["* 1 FETCH (SAVEDATE NIL)"])
                #expect(try await client.ok("SEARCH SAVEDSINCE 1-Jan-2020") == ["* SEARCH"])
                return
            }
            #expect(try await client.ok("FETCH 1 INTERNALDATE")[0].contains("1-Feb-1999"))
            let saved = try await client.ok("FETCH 1 SAVEDATE")
            #expect(saved[0].contains("SAVEDATE \"") && !saved[0].contains("1999"), "\(saved)")
            #expect(try await client.ok("SEARCH SAVEDSINCE 1-Jan-2020") == ["* SEARCH 1"])
            #expect(try await client.ok("SEARCH SAVEDBEFORE 1-Jan-2020") == ["* SEARCH"])
            #expect(try await client.ok("SEARCH SAVEDATESUPPORTED NOT SAVEDON 1-Jan-2020") == ["* SEARCH 1"])
        }
    }
}
