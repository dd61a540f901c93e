import Testing

@testable import IMAPServer

/// RFC 8437
@Suite struct UnauthenticateTests {
    @Test func nothingOfASessionIsLeft() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await client.append("Subject: alice's\r\n\r\nx\r\n")
            _ = try await client.ok("ENABLE IMAP4rev2 QRESYNC UIDONLY UTF8=ACCEPT")
            _ = try await client.ok("SELECT INBOX")
            #expect(try await client.ok("UNAUTHENTICATE") == [])
            #expect(try await client.ok("CAPABILITY")[0].contains("SASL-IR") == true)
            for command in ["SELECT INBOX", "UNAUTHENTICATE", "FETCH 1 FLAGS"] {
                #expect(try await client.command(command).last?.contains(" BAD ") == true, "\(command)")
            }
            #expect(try await client.command("LOGIN bob wrong").last?.contains("AUTHENTICATIONFAILED") == true)
            _ = try await client.ok("LOGIN bob secret")
            let selected = try await client.ok("SELECT INBOX")
            #expect(selected.contains("* 0 EXISTS") && selected.contains("* 0 RECENT"))
            #expect(try await client.command("FETCH 1 FLAGS").last?.contains(" BAD ") == true)
            _ = try await client.ok("LOGOUT")
        }
    }

    /// RFC 8437 §3: the next AUTHENTICATE may follow at once.
    @Test func pipelined() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            var commands = ""
            for number in 0..<20 {
                commands += "n\(number) NOOP\r\nu\(number) UNAUTHENTICATE\r\nl\(number) LOGIN user\(number) secret\r\n"
            }
            try await client.send(commands + "last LOGOUT\r\n")
            let lines = try await client.lines(to: "last ")
            let tags = lines.filter { !$0.hasPrefix("*") }.map {
                $0.prefix { $0 != "[" }.split(separator: " ").prefix(2)
            }
            let expected = (0..<20).flatMap { ["n\($0)", "u\($0)", "l\($0)"] } + ["last"]
            #expect(tags.map { $0.joined(separator: " ") } == expected.map { "\($0) OK" })
        }
    }

    /// RFC 8437 §4.1: compression ends on both sides, whether the client says so in its stream or not.
    @Test(arguments: [false, true])
    func compression(endsItsStream: Bool) async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            for user in ["bob", "carol"] {
                try await client.compress()
                _ = try await client.ok("NOOP")
                if endsItsStream {
                    try await client.endCompression(with: "u UNAUTHENTICATE\r\n")
                } else {
                    try await client.send("u UNAUTHENTICATE\r\n")
                }
                _ = try await client.lines(to: "u OK")
                try await client.decompress()
                _ = try await client.ok("LOGIN \(user) secret")
            }
            #expect(try await client.ok("STATUS INBOX (MESSAGES)") == ["* STATUS INBOX (MESSAGES 0)"])
        }
    }

    @Test func whereItIsCut() async throws {
        try await TestSystem.run(without: ["UNAUTHENTICATE"]) { system in
            let client = try await system.client()
            #expect(try await client.ok("CAPABILITY")[0].contains("UNAUTHENTICATE") == false)
            #expect(try await client.command("UNAUTHENTICATE").last?.contains(" BAD ") == true)
            _ = try await client.ok("SELECT INBOX")
        }
    }
}
