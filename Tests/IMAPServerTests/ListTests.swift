import Testing

@testable import IMAPServer

@Suite struct ListTests {
    private static func folders(_ client: TestClient) async throws {
        for name in ["Fruit", "Fruit.Apple", "Fruit.Banana", "Tofu", "Vegetable.Broccoli", "Sent"] {
            _ = try await client.ok("CREATE \(name)")
        }
        for name in ["Fruit.Banana", "Vegetable", "Vegetable.Broccoli", "Fruit.Peach", "INBOX", "Bread.White"] {
            _ = try await client.ok("SUBSCRIBE \(name)")
        }
    }

    /// RFC 5258 §5
    @Test func selectionAndReturns() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await Self.folders(client)
            let subscribed = try await client.ok("LIST (SUBSCRIBED) \"\" \"*\"")
            #expect(
                subscribed == [
                    "* LIST (\\HasNoChildren \\Subscribed) \".\" INBOX",
                    "* LIST (\\NonExistent \\HasNoChildren \\Subscribed) \".\" Bread.White",
                    "* LIST (\\HasNoChildren \\Subscribed) \".\" Fruit.Banana",
                    "* LIST (\\NonExistent \\HasNoChildren \\Subscribed) \".\" Fruit.Peach",
                    "* LIST (\\NonExistent \\HasChildren \\Subscribed) \".\" Vegetable",
                    "* LIST (\\HasNoChildren \\Subscribed) \".\" Vegetable.Broccoli",
                ]
            )
            let all = try await client.ok("LIST () \"\" (\"%\" \"Fruit.*\") RETURN (SUBSCRIBED CHILDREN)")
            #expect(all.contains("* LIST (\\HasChildren) \".\" Fruit"))
            #expect(all.contains("* LIST (\\HasNoChildren \\Subscribed) \".\" Fruit.Banana"))
            #expect(all.contains("* LIST (\\NonExistent \\HasChildren \\Subscribed) \".\" Vegetable"))
            #expect(!all.contains { $0.contains("Peach") })
            #expect(try await client.ok("LIST (REMOTE) \"\" %").count == 5)
        }
    }

    /// RFC 5258 §3.5: parents of what matches, also those that don't exist.
    @Test func recursiveMatch() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await Self.folders(client)
            let info = " (\"CHILDINFO\" (\"SUBSCRIBED\"))"
            #expect(
                try await client.ok("LIST (RECURSIVEMATCH SUBSCRIBED) \"\" \"%\"") == [
                    "* LIST (\\HasNoChildren \\Subscribed) \".\" INBOX",
                    "* LIST (\\NonExistent \\HasNoChildren) \".\" Bread\(info)",
                    "* LIST (\\HasChildren) \".\" Fruit\(info)",
                    "* LIST (\\NonExistent \\HasChildren \\Subscribed) \".\" Vegetable\(info)",
                ]
            )
            #expect(try await client.command("LIST (RECURSIVEMATCH) \"\" %").last?.contains(" BAD ") == true)
        }
    }

    /// RFC 6154 and RFC 5819.
    @Test func specialUsesAndStatus() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await Self.folders(client)
            try await client.append("Subject: x\r\n\r\nx\r\n", to: "Sent")
            #expect(
                try await client.ok("LIST (SPECIAL-USE) \"\" \"*\" RETURN (SPECIAL-USE STATUS (MESSAGES UNSEEN))") == [
                    "* LIST (\\HasNoChildren \\Sent) \".\" Sent", "* STATUS Sent (MESSAGES 1 UNSEEN 1)",
                ]
            )
            // What doesn't exist has no STATUS.
            let listed = try await client.ok("LIST (SUBSCRIBED) \"\" \"V*\" RETURN (STATUS (MESSAGES))")
            #expect(listed.count == 3 && listed[2] == "* STATUS Vegetable.Broccoli (MESSAGES 0)")
        }
    }

    /// RFC 6154 §3: a use that was given counts before the one that a name suggests, and goes where the mailbox goes.
    @Test func usesThatClientsGive() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            _ = try await client.ok("CREATE Sent")
            _ = try await client.ok("CREATE Gesendet (USE (\\Sent))")
            _ = try await client.ok("CREATE Both (USE (\\drafts \\Archive))")
            let listed = try await client.ok("LIST (SPECIAL-USE) \"\" *")
            #expect(
                listed == [
                    "* LIST (\\HasNoChildren \\Archive \\Drafts) \".\" Both",
                    "* LIST (\\HasNoChildren \\Sent) \".\" Gesendet",
                ]
            )
            _ = try await client.ok("RENAME Gesendet Post.Gesendet")
            #expect(try await client.ok("LIST \"\" Post.%") == ["* LIST (\\HasNoChildren \\Sent) \".\" Post.Gesendet"])
            _ = try await client.ok("DELETE Post.Gesendet")
            #expect(try await client.ok("LIST \"\" Sent") == ["* LIST (\\HasNoChildren \\Sent) \".\" Sent"])
            _ = try await client.ok("CREATE Post.Gesendet")
            #expect(try await client.ok("LIST \"\" Post.%") == ["* LIST (\\HasNoChildren) \".\" Post.Gesendet"])
            for use in ["\\All", "\\Nonsense", "\\Sent \\Flagged"] {
                let refused = try await client.command("CREATE Other (USE (\(use)))")
                #expect(refused.last?.contains(" NO [USEATTR]") == true, "\(use)")
            }
            #expect(try await client.ok("LIST \"\" Other").isEmpty)
            let mbox = try await system.client(as: "mbox")
            #expect(try await mbox.command("CREATE x (USE (\\Sent))").last?.contains(" NO ") == true)
        }
    }

    /// The plain forms stay as they were.
    @Test func plainLists() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await Self.folders(client)
            #expect(try await client.ok("LIST \"\" \"\"") == ["* LIST (\\Noselect) \".\" \"\""])
            let names = try await client.ok("LIST \"\" *")
            #expect(names.count == 8 && !names.contains { $0.contains("NonExistent") || $0.contains("Subscribed") })
            #expect(names.contains("* LIST (\\Noselect \\HasChildren) \".\" Vegetable"))
            #expect(try await client.ok("LSUB \"\" %").contains("* LSUB () \".\" Vegetable"))
            #expect(try await client.ok("LSUB \"\" %").contains("* LSUB (\\Noselect) \".\" Fruit"))
            _ = try await client.ok("CREATE Entw&APw-rfe")
            #expect(try await client.ok("LIST \"\" Entw&APw-*") == ["* LIST (\\HasNoChildren) \".\" Entw&APw-rfe"])
            #expect(try await client.ok("LIST \"\" \"Entwü%\"") == ["* LIST (\\HasNoChildren) \".\" Entw&APw-rfe"])
        }
    }

    /// RFC 9208
    @Test func quotas() async throws {
        try await TestSystem.run { system in
            let limited = try await system.client(as: "limited")
            try await limited.append("Subject: x\r\n\r\n\(String(repeating: "x", count: 3000))\r\n")
            let answer = ["* QUOTAROOT INBOX \"User quota\"", "* QUOTA \"User quota\" (STORAGE 3 20)"]
            #expect(try await limited.ok("GETQUOTAROOT INBOX") == answer)
            #expect(try await limited.ok("GETQUOTA \"User quota\"") == [answer[1]])
            #expect(try await limited.command("GETQUOTA other").last?.contains(" NO [NONEXISTENT]") == true)
            let large = String(repeating: "x", count: 19_000)
            let refused = try await limited.command("APPEND INBOX {19000+}\r\n\(large)")
            #expect(refused.last?.contains(" NO [OVERQUOTA]") == true)
            _ = try await limited.ok("SELECT INBOX")
            _ = try await limited.ok("STORE 1 +FLAGS (\\Deleted)")
            #expect(
                try await limited.ok("STATUS INBOX (DELETED DELETED-STORAGE APPENDLIMIT)")[0]
                    == "* STATUS INBOX (DELETED 1 DELETED-STORAGE 2 APPENDLIMIT 1048576)"
            )
            let free = try await system.client()
            #expect(try await free.ok("GETQUOTAROOT INBOX") == ["* QUOTAROOT INBOX"])
            #expect(try await free.command("GETQUOTA \"User quota\"").last?.contains(" NO ") == true)
        }
    }
}
