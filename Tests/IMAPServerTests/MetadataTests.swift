import Testing

@testable import IMAPServer

#if canImport(Glibc)
import Glibc
#endif

/// RFC 5464 and RFC 9590
@Suite struct MetadataTests {
    @Test(arguments: ["alice", "mbox"]) func mailboxesAndTheServer(user: String) async throws {
        try await TestSystem.run { system in
            let client = try await system.client(as: user)
            #expect(
                try await client.ok("GETMETADATA INBOX /shared/comment") == ["* METADATA INBOX (/shared/comment NIL)"]
            )
            _ = try await client.ok("SETMETADATA INBOX (/shared/comment \"ours\" /PRIVATE/Comment {5+}\r\na\r\nb!)")
            _ = try await client.ok("SETMETADATA \"\" (/private/vendor/x ~{3+}\r\na\0b)")
            let other = try await system.client(as: user)
            #expect(
                try await other.ok("GETMETADATA INBOX (/shared/comment /private/comment)") == [
                    "* METADATA INBOX (/shared/comment \"ours\" /private/comment {5}", "a", "b!)",
                ]
            )
            #expect(
                try await other.ok("GETMETADATA \"\" /private/vendor/x") == [
                    "* METADATA \"\" (/private/vendor/x ~{3}", "a\0b)",
                ]
            )
            #expect(
                try await other.ok("GETMETADATA \"\" /shared/admin") == [
                    "* METADATA \"\" (/shared/admin \"mailto:postmaster@example.test\")"
                ]
            )
            #expect(try await other.command("SETMETADATA \"\" (/shared/comment x)").last?.contains(" BAD ") == true)
            #expect(
                try await other.command("SETMETADATA \"\" (/shared/comment \"x\")").last?.contains(" NO [NOPERM]")
                    == true
            )
            _ = try await other.ok("SETMETADATA INBOX (/shared/comment NIL)")
            #expect(
                try await client.ok("GETMETADATA INBOX (/shared/comment)") == ["* METADATA INBOX (/shared/comment NIL)"]
            )
            #expect(
                try await client.command("GETMETADATA none /shared/comment").last?.contains(" NO [NONEXISTENT]") == true
            )
            #expect(
                try await client.command("SETMETADATA none (/shared/comment NIL)").last?.contains(" NO [NONEXISTENT]")
                    == true
            )
        }
    }

    /// RFC 5464 §4.2.1 and §4.2.2: options in front of the name, as the grammar has them, or behind it, as the examples do.
    @Test func options() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            _ = try await client.ok(
                "SETMETADATA INBOX (/private/a \"1\" /private/a/b \"22\" /private/a/b/c \"333\" /private/ab \"x\" /shared/a \"y\")"
            )
            #expect(
                try await client.ok("GETMETADATA (DEPTH 1) INBOX /private/a")
                    == ["* METADATA INBOX (/private/a \"1\" /private/a/b \"22\")"]
            )
            #expect(
                try await client.ok("GETMETADATA INBOX (depth infinity) (/private/a /private/a/b)")
                    == ["* METADATA INBOX (/private/a \"1\" /private/a/b \"22\" /private/a/b/c \"333\")"]
            )
            #expect(
                try await client.ok("GETMETADATA (DEPTH infinity) INBOX /private")[0].contains("/private/ab \"x\"")
                    == true
            )
            #expect(try await client.ok("GETMETADATA (DEPTH 1) INBOX /private/none") == [])
            let short = try await client.command("GETMETADATA INBOX (MAXSIZE 1 DEPTH infinity) (/private/a)")
            #expect(
                short[0] == "* METADATA INBOX (/private/a \"1\")" && short[1].contains(" OK [METADATA LONGENTRIES 3]")
            )
            #expect(
                try await client.command("GETMETADATA (MAXSIZE 3) INBOX /private/a/b/c").last?.contains("LONGENTRIES")
                    == false
            )
            for wrong in [
                "GETMETADATA INBOX /comment", "GETMETADATA INBOX /shared/*", "GETMETADATA INBOX ()",
                "GETMETADATA (DEPTH 2) INBOX /shared/a",
                "SETMETADATA INBOX (/shared \"x\")", "SETMETADATA INBOX (/shared/a/ \"x\")",
                "SETMETADATA INBOX (/shared//a \"x\")",
                "SETMETADATA INBOX ()", "GETMETADATA INBOX /shared/a%b",
            ] { #expect(try await client.command(wrong).last?.contains(" BAD ") == true, "\(wrong)") }
        }
    }

    @Test func limits() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            let large = String(repeating: "x", count: 32 * 1024 + 1)
            #expect(
                try await client.command("SETMETADATA INBOX (/shared/b \"1\" /shared/a {\(large.count)+}\r\n\(large))")
                    .last?
                    .contains(" NO [METADATA MAXSIZE 32768]") == true
            )
            // Nothing of a command that fails is done.
            #expect(try await client.ok("GETMETADATA INBOX /shared/b") == ["* METADATA INBOX (/shared/b NIL)"])
            _ = try await client.ok("SETMETADATA INBOX (/shared/a {\(large.count - 1)+}\r\n\(large.dropLast()))")
            for start in [0, 50] {
                let values = (start..<start + 50).map { "/private/n\($0) \"\($0)\"" }.joined(separator: " ")
                _ = try await client.ok("SETMETADATA INBOX (\(values))")
            }
            #expect(
                try await client.command("SETMETADATA INBOX (/private/one \"1\")").last?.contains(
                    " NO [METADATA TOOMANY]"
                ) == true
            )
            _ = try await client.ok("SETMETADATA INBOX (/private/n0 NIL)")
            _ = try await client.ok("SETMETADATA INBOX (/private/one \"1\")")
            #expect(
                try await client.ok("GETMETADATA (DEPTH 1) INBOX /private")[0].contains("/private/one \"1\"") == true
            )
        }
    }

    /// RFC 5464 §4.1
    @Test func theyGoWithTheirMailbox() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            _ = try await client.ok("CREATE one.two")
            _ = try await client.ok("SETMETADATA one.two (/shared/comment \"kept\")")
            _ = try await client.ok("SETMETADATA INBOX (/shared/comment \"inbox\")")
            #expect(try await client.command("SETMETADATA one (/shared/comment \"x\")").last?.contains(" NO ") == true)
            _ = try await client.ok("RENAME one three")
            #expect(
                try await client.ok("GETMETADATA three.two /shared/comment") == [
                    "* METADATA three.two (/shared/comment \"kept\")"
                ]
            )
            _ = try await client.ok("DELETE three.two")
            _ = try await client.ok("CREATE three.two")
            #expect(
                try await client.ok("GETMETADATA three.two /shared/comment") == [
                    "* METADATA three.two (/shared/comment NIL)"
                ]
            )
            _ = try await client.ok("RENAME INBOX old")
            for name in ["INBOX", "old"] {
                #expect(
                    try await client.ok("GETMETADATA \(name) /shared/comment") == [
                        "* METADATA \(name) (/shared/comment \"inbox\")"
                    ]
                )
            }
        }
    }

    /// RFC 9590 §4
    @Test func list() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            for name in ["a.b", "c"] { _ = try await client.ok("CREATE \(name)") }
            _ = try await client.ok("SUBSCRIBE a.b")
            _ = try await client.ok("SUBSCRIBE INBOX")
            _ = try await client.ok("SETMETADATA c (/shared/color \"#b71c1c\")")
            #expect(
                try await client.ok("LIST \"\" % RETURN (METADATA (/shared/color))").filter { $0.contains("METADATA") }
                    == [
                        "* METADATA INBOX (/shared/color NIL)", "* METADATA c (/shared/color \"#b71c1c\")",
                    ]
            )
            let recursive = try await client.ok(
                "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" % RETURN (METADATA (/shared/color))"
            )
            #expect(recursive.filter { $0.contains("METADATA") } == ["* METADATA INBOX (/shared/color NIL)"])
        }
    }

    @Test func whereItIsCut() async throws {
        try await TestSystem.run { system in
            let names = try await system.client().ok("CAPABILITY")[0].split(separator: " ")
            #expect(names.contains("METADATA") && !names.contains("METADATA-SERVER") && names.contains("LIST-METADATA"))
        }
        try await TestSystem.run(without: ["METADATA", "LIST-METADATA"]) { system in
            let client = try await system.client()
            let names = try await client.ok("CAPABILITY")[0].split(separator: " ")
            #expect(
                !names.contains("METADATA") && names.contains("METADATA-SERVER") && !names.contains("LIST-METADATA")
            )
            _ = try await client.ok("GETMETADATA \"\" /private/comment")
            for command in ["GETMETADATA INBOX /private/comment", "LIST \"\" * RETURN (METADATA (/shared/a))"] {
                #expect(try await client.command(command).last?.contains(" BAD ") == true)
            }
        }
    }

    /// What can't be understood is never written over.
    @Test func damage() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            _ = try await client.ok("SETMETADATA INBOX (/shared/comment \"x\")")
            #expect(truncate("\(system.directory)/mail/alice/martlet-metadata", 20) == 0)
            for command in ["GETMETADATA INBOX /shared/comment", "SETMETADATA INBOX (/shared/comment \"y\")"] {
                #expect(try await client.command(command).last?.contains(" NO [UNAVAILABLE]") == true)
            }
        }
    }
}
