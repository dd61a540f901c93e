import Testing

@testable import IMAPServer

/// RFC 9738, with a limit that is less than clients ever see.
@Suite struct MessageLimitTests {
    private static func run(_ body: @escaping @Sendable (TestClient) async throws -> Void) async throws {
        try await TestSystem.run(messagesPerCommand: 3) { system in
            let client = try await system.client()
            for number in 1...5 { try await client.append("Subject: \(number)\r\n\r\nx\r\n") }
            _ = try await client.ok("CREATE other")
            _ = try await client.ok("SELECT INBOX")
            try await body(client)
        }
    }

    @Test func theLastOnes() async throws {
        try await Self.run { (client: TestClient) async throws in
            #expect(try await client.ok("CAPABILITY")[0].contains(" MESSAGELIMIT=3") == true)
            let fetched = try await client.command("FETCH 1:* UID")
            #expect(fetched.count == 4 && fetched[0] == "* 3 FETCH (UID 3)")
            #expect(fetched.last?.contains(" OK [MESSAGELIMIT 3 3]") == true)
            #expect(try await client.command("FETCH 1:3 UID").last?.contains("MESSAGELIMIT") == false)
            let searched = try await client.command("SEARCH UNDELETED")
            #expect(searched[0] == "* SEARCH 3 4 5" && searched[1].contains(" OK [MESSAGELIMIT 3 3]"))
            let some = try await client.command("UID SEARCH UID 1:4 UNDELETED")
            #expect(some[0] == "* SEARCH 2 3 4" && some[1].contains(" OK [MESSAGELIMIT 3 2]"))
            #expect(try await client.ok("SEARCH 1:2 NOT DELETED") == ["* SEARCH 1 2"])
            #expect(try await client.ok("UID SEARCH UIDBEFORE 3") == ["* SEARCH 1 2"])
            #expect(try await client.ok("UID SEARCH UIDAFTER 4 UIDBEFORE 9") == ["* SEARCH 5"])
            #expect(try await client.ok("UID SEARCH UIDBEFORE 1") == ["* SEARCH"])
            #expect(try await client.ok("UID SEARCH UIDAFTER 4294967295") == ["* SEARCH"])
            let saved = try await client.command("SEARCH RETURN (SAVE COUNT) ALL")
            #expect(saved[0].hasSuffix("COUNT 3") && saved[1].contains("[MESSAGELIMIT 3 3]"))
            #expect(try await client.ok("SEARCH $") == ["* SEARCH 3 4 5"])
            let stored = try await client.command("UID STORE 1:5 +FLAGS (\\Deleted)")
            #expect(stored.count == 4 && stored[3].contains(" OK [MESSAGELIMIT 3 3]"))
            let multi = try await client.command("ESEARCH IN (inboxes) ALL")
            #expect(multi[0].hasSuffix("ALL 3:5") && multi[1].contains(" OK [MESSAGELIMIT 3]"))
        }
    }

    @Test func allOrNothing() async throws {
        try await Self.run { (client: TestClient) async throws in
            #expect(try await client.command("COPY 1:4 other").last?.contains(" NO [MESSAGELIMIT 3 2]") == true)
            #expect(try await client.ok("STATUS other (MESSAGES)") == ["* STATUS other (MESSAGES 0)"])
            #expect(
                try await client.command("UID FETCH 1:* UID (PARTIAL 1:4)").last?.contains(" NO [MESSAGELIMIT 3]")
                    == true
            )
            #expect(try await client.ok("UID FETCH 1:* UID (PARTIAL 1:2)").count == 2)
            for command in ["SORT (SUBJECT) UTF-8 ALL", "THREAD REFS UTF-8 ALL"] {
                #expect(try await client.command(command).last?.contains(" NO [MESSAGELIMIT 3 3]") == true)
            }
            #expect(try await client.ok("SORT (REVERSE SUBJECT) UTF-8 1:2") == ["* SORT 2 1"])
        }
    }

    @Test func whatRemoves() async throws {
        try await Self.run { (client: TestClient) async throws in
            let moved = try await client.command("MOVE 1:* other")
            #expect(moved[0].contains("COPYUID") && moved.last?.contains(" OK [MESSAGELIMIT 3 3]") == true)
            #expect(try await client.ok("STATUS other (MESSAGES)") == ["* STATUS other (MESSAGES 3)"])
            _ = try await client.ok("SELECT other")
            for number in 1...2 {
                try await client.append("Subject: \(number)\r\n\r\nx\r\n", to: "other", "(\\Deleted) ")
            }
            _ = try await client.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
            let expunged = try await client.command("UID EXPUNGE 1:*")
            #expect(
                expunged.filter { $0.hasSuffix(" EXPUNGE") }.count == 3
                    && expunged.last?.contains("[MESSAGELIMIT 3 3]") == true
            )
            for number in 1...3 {
                try await client.append("Subject: \(number)\r\n\r\nx\r\n", to: "other", "(\\Deleted) ")
            }
            // EXPUNGE has no limit.
            let all = try await client.command("EXPUNGE")
            #expect(all.filter { $0.hasSuffix(" EXPUNGE") }.count == 5 && all.last?.contains("MESSAGELIMIT") == false)
        }
    }

    @Test func withoutOne() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            #expect(try await client.ok("CAPABILITY")[0].contains("MESSAGELIMIT") == false)
            _ = try await client.ok("SELECT INBOX")
            #expect(try await client.command("SEARCH UIDAFTER 1").last?.contains(" BAD ") == true)
        }
    }
}
