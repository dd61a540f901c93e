import Testing

@testable import IMAPServer

private let message = "From: Bob <bob@example.test>\r\nSubject: hello\r\n\r\nbody text\r\n"

private func append(_ client: TestClient, _ text: String = message, to folder: String = "INBOX") async throws {
    #expect(
        try await client.command("APPEND \(folder) {\(text.utf8.count)+}\r\n\(text)").last?.contains("APPENDUID")
            == true
    )
}

@Suite struct SessionTests {
    @Test func loginIsNeededAndChecked() async throws {
        try await TestSystem.run { system in
            let client = try await system.client(loggedIn: false)
            #expect(try await client.command("SELECT INBOX").last?.contains("BAD") == true)
            #expect(try await client.command("LOGIN alice wrong").last?.contains("AUTHENTICATIONFAILED") == true)
            #expect(try await client.command("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==").last?.contains("OK") == true)
            #expect(try await client.command("LOGOUT").first?.hasPrefix("* BYE") == true)
        }
    }

    @Test func messagesAreFetched() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await append(client)
            let selected = try await client.command("SELECT INBOX")
            #expect(selected.contains("* 1 EXISTS") && selected.last?.contains("[READ-WRITE]") == true)
            let peek = try await client.command("FETCH 1 (RFC822.SIZE BODY.PEEK[])")
            #expect(peek[0].hasPrefix("* 1 FETCH (RFC822.SIZE \(message.utf8.count) BODY[] {\(message.utf8.count)}"))
            #expect(peek.contains("body text"))
            #expect(try await client.command("FETCH 1 FLAGS")[0].contains("\\Seen") == false)
            #expect(
                try await client.command("FETCH 1 BODY[TEXT]<0.4>").prefix(2) == [
                    "* 1 FETCH (BODY[TEXT]<0> {4}", "body FLAGS (\\Seen \\Recent))",
                ]
            )
            let fields = try await client.command("FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]")
            #expect(fields[0] == "* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {18}" && fields[1] == "Subject: hello")
            #expect(
                try await client.command("FETCH 1 ENVELOPE")[0].contains(
                    "\"hello\" ((\"Bob\" NIL \"bob\" \"example.test\"))"
                )
            )
            #expect(try await client.command("FETCH 1 BODY[7]")[0] == "* 1 FETCH (BODY[7] NIL)")
            #expect(try await client.command("FETCH 2 FLAGS")[0].contains("BAD"))
        }
    }

    @Test func twoClientsSeeEachOthersChanges() async throws {
        try await TestSystem.run { system in
            let one = try await system.client()
            for _ in 0..<3 { try await append(one) }
            let two = try await system.client()
            _ = try await one.command("SELECT INBOX")
            _ = try await two.command("SELECT INBOX")
            #expect(
                try await one.command("STORE 2 +FLAGS (\\Deleted $Work)").contains {
                    $0.contains("2 FETCH (FLAGS (\\Deleted")
                }
            )
            #expect(try await two.command("NOOP").contains { $0.hasPrefix("* 2 FETCH (FLAGS (\\Deleted") })
            #expect(try await one.command("EXPUNGE").contains("* 2 EXPUNGE"))
            // During FETCH by number nothing may be renumbered.
            let fetched = try await two.command("FETCH 1:3 FLAGS")
            #expect(!fetched.contains { $0.contains("EXPUNGE") })
            #expect(try await two.command("NOOP").contains("* 2 EXPUNGE"))
            #expect(try await two.command("FETCH 2 UID")[0] == "* 2 FETCH (UID 3)")
            try await append(one)
            #expect(try await two.command("NOOP").contains("* 3 EXISTS"))
        }
    }

    @Test func idleHearsOfNewMail() async throws {
        try await TestSystem.run { system in
            let one = try await system.client()
            let two = try await system.client()
            _ = try await two.command("SELECT INBOX")
            try await two.send("i IDLE\r\n")
            #expect(try await two.line().hasPrefix("+"))
            try await append(one)
            _ = try await two.lines(to: "* 1 EXISTS")
            try await two.send("DONE\r\n")
            #expect(try await two.lines(to: "i ").last == "i OK done")
        }
    }

    @Test func foldersSearchCopyAndMove() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            _ = try await client.command("CREATE Work.Entw&APw-rfe")
            let listed = try await client.command("LIST \"\" *")
            #expect(listed.contains("* LIST (\\HasNoChildren) \".\" Work.Entw&APw-rfe"))
            #expect(listed.contains("* LIST (\\Noselect \\HasChildren) \".\" Work"))
            #expect(try await client.command("LIST \"\" %").count == 3)
            for name in ["one", "two"] {
                try await append(client, "Subject: =?utf-8?q?=C3=84?= \(name)\r\n\r\ntext \(name)\r\n")
            }
            _ = try await client.command("SELECT INBOX")
            #expect(try await client.command("SEARCH BODY \"text TWO\"")[0] == "* SEARCH 2")
            #expect(try await client.command("SEARCH CHARSET UTF-8 SUBJECT {2+}\r\nä NOT BODY two")[0] == "* SEARCH 1")
            #expect(try await client.command("SEARCH CHARSET KOI8-R ALL")[0].contains("BADCHARSET"))
            #expect(try await client.command("COPY 1 nowhere").last?.contains("TRYCREATE") == true)
            #expect(try await client.command("COPY 1:2 Work.Entw&APw-rfe").last?.contains("COPYUID") == true)
            #expect(try await client.command("MOVE 1 Work.Entw&APw-rfe").contains("* 1 EXPUNGE"))
            let status = try await client.command("STATUS Work.Entw&APw-rfe (MESSAGES UIDNEXT)")
            #expect(status[0] == "* STATUS Work.Entw&APw-rfe (MESSAGES 3 UIDNEXT 4)")
            _ = try await client.command("EXAMINE Work.Entw&APw-rfe")
            #expect(try await client.command("STORE 1 +FLAGS \\Seen").last?.contains(" NO ") == true)
        }
    }
}
