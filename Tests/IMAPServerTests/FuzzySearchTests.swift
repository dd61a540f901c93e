import Testing

@testable import IMAPServer

/// RFC 6203
@Suite struct FuzzySearchTests {
    private static func run(
        indexesText: Bool = false,
        _ body: @escaping @Sendable (TestClient) async throws -> Void
    ) async throws {
        try await TestSystem.run(indexesText: indexesText) { system in
            let client = try await system.client()
            for subject in ["IMAP break", "it is broken, IMAP", "broken IMAP break", "IMAP", "nothing"] {
                try await client.append("From: bob@example.test\r\nSubject: \(subject)\r\n\r\none two three\r\n")
            }
            _ = try await client.ok("SELECT INBOX")
            try await body(client)
        }
    }

    @Test(arguments: [false, true])
    func wordsByThemselves(indexesText: Bool) async throws {
        try await Self.run(indexesText: indexesText) { (client: TestClient) async throws in
            #expect(try await client.ok("SEARCH SUBJECT \"IMAP break\"") == ["* SEARCH 1 3"])
            #expect(try await client.ok("SEARCH FUZZY SUBJECT \"IMAP break\"") == ["* SEARCH 1 2 3 4"])
            #expect(try await client.ok("SEARCH FUZZY SUBJECT \"IMAP\"") == ["* SEARCH 1 2 3 4"])
            #expect(try await client.ok("SEARCH FUZZY SUBJECT \"IMAP is quite broken\" FROM bob") == ["* SEARCH 2 3"])
            #expect(
                try await client.ok("SEARCH FUZZY (SUBJECT \"IMAP is\" BODY \"three one\")") == ["* SEARCH 1 2 3 4"]
            )
            #expect(try await client.ok("SEARCH FUZZY NOT SUBJECT \"IMAP break\"") == ["* SEARCH 5"])
            #expect(try await client.ok("SEARCH FUZZY OR SUBJECT \"nothing at\" TEXT \"zero nil\"") == ["* SEARCH 5"])
            #expect(try await client.ok("SEARCH FUZZY UID 2:3") == ["* SEARCH 2 3"])
            #expect(try await client.ok("SEARCH FUZZY SUBJECT \" \"") == ["* SEARCH 1 2 3"])
        }
    }

    @Test func scores() async throws {
        try await Self.run { (client: TestClient) async throws in
            let search = "FUZZY SUBJECT \"IMAP break\""
            #expect(
                try await client.ok("SEARCH RETURN (RELEVANCY ALL) \(search)")[0].hasSuffix(
                    "ALL 1:4 RELEVANCY (100 45 100 45)"
                )
            )
            #expect(
                try await client.ok("UID SEARCH RETURN (RELEVANCY PARTIAL 2:3) \(search)")[0].hasSuffix(
                    "UID PARTIAL (2:3 2:3) RELEVANCY (45 100)"
                )
            )
            #expect(try await client.ok("SORT (RELEVANCY REVERSE ARRIVAL) UTF-8 \(search)")[0] != "* SORT")
            #expect(try await client.ok("SORT (RELEVANCY) UTF-8 \(search)") == ["* SORT 1 3 2 4"])
            #expect(
                try await client.ok("SORT RETURN (ALL RELEVANCY) (REVERSE RELEVANCY) UTF-8 \(search)")[0].hasSuffix(
                    "ALL 2,4,1,3 RELEVANCY (45 45 100 100)"
                )
            )
            #expect(
                try await client.ok("ESEARCH IN (inboxes) RETURN (ALL RELEVANCY) FUZZY SUBJECT \"nothing at\"")[0]
                    .hasSuffix(
                        "ALL 5 RELEVANCY (45)"
                    )
            )
            for command in ["SEARCH RETURN (RELEVANCY) ALL", "SORT (RELEVANCY) UTF-8 ALL"] {
                #expect(try await client.command(command).last?.contains(" BAD ") == true)
            }
        }
    }

    @Test func whereItIsCut() async throws {
        try await TestSystem.run(without: ["SEARCH=FUZZY"]) { system in
            let client = try await system.client()
            _ = try await client.ok("SELECT INBOX")
            #expect(try await client.command("SEARCH FUZZY ALL").last?.contains(" BAD ") == true)
        }
    }
}
