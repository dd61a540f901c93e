import Network
import TLS
import Testing

@Suite struct SessionTests {
    @Test func mailIsReadAndSizesAreThoseOnTheWire() async throws {
        try await PostOffice.run { (office) async throws -> Void in
            let client = try await office.login()
            // With CRLF line ends: 23, 31 and 27 octets.
            #expect(try await client.say("STAT") == "+OK 3 81")
            #expect(try await client.ask("LIST") == ["1 23", "2 31", "3 27"])
            #expect(try await client.ask("RETR 2") == ["Subject: two", "", "..dot", "...", "end"])
            #expect(try await client.ask("TOP 3 1") == ["Subject: three", "", "x"])
            let ids = try await client.ask("UIDL")
            #expect(Set(ids.compactMap { $0.split(separator: " ").last }).count == 3)
            #expect(try await client.say("RETR 4").hasPrefix("-ERR"))
            #expect(try await client.say("RETR 99999999999999999999").hasPrefix("-ERR"))
            #expect(try await client.say("QUIT").hasPrefix("+OK"))
            client.connection.close()
        }
    }

    @Test func onlyQuitDeletes() async throws {
        try await PostOffice.run { (office) async throws -> Void in
            let lost = try await office.login()
            #expect(try await lost.say("DELE 1").hasPrefix("+OK"))
            lost.connection.abort()
            var next = try await office.client()
            // The lock of the lost session goes with it, but not at once.
            while true {
                _ = try await next.say("USER bob")
                if try await next.say("PASS secret").hasPrefix("+OK") { break }
                next.connection.close()
                next = try await office.client()
            }
            #expect(try await next.say("STAT") == "+OK 3 81")
            #expect(try await next.say("DELE 1").hasPrefix("+OK"))
            #expect(try await next.say("DELE 1").hasPrefix("-ERR"))
            #expect(try await next.say("RSET").hasPrefix("+OK"))
            #expect(try await next.say("DELE 2").hasPrefix("+OK"))
            #expect(try await next.say("QUIT").hasPrefix("+OK"))
            next.connection.close()
            let last = try await office.login()
            #expect(try await last.ask("LIST") == ["1 23", "2 27"])
            last.connection.close()
        }
    }

    @Test func secondSessionIsRefused() async throws {
        try await PostOffice.run { (office) async throws -> Void in
            let first = try await office.login()
            let second = try await office.client()
            _ = try await second.say("USER bob")
            #expect(try await second.say("PASS secret").hasPrefix("-ERR [IN-USE]"))
            second.connection.close()
            first.connection.close()
        }
    }

    @Test func faultsHaveTheirCodes() async throws {
        try await PostOffice.run { (office) async throws -> Void in
            let client = try await office.client()
            _ = try await client.say("USER bob")
            #expect(try await client.say("PASS wrong").hasPrefix("-ERR [AUTH]"))
            #expect(try await client.say("STAT").hasPrefix("-ERR"))
            #expect(try await client.say("\u{0}\u{1}").hasPrefix("-ERR"))
            #expect(try await client.say(String(repeating: "x", count: 5000)).hasPrefix("-ERR"))
            client.connection.close()
        }
        try await PostOffice.run({ $0.hasAuthority = false }) { (office) async throws -> Void in
            let client = try await office.client()
            _ = try await client.say("USER bob")
            #expect(try await client.say("PASS secret").hasPrefix("-ERR [SYS/TEMP]"))
            client.connection.close()
        }
        try await PostOffice.run({ $0.hasMailboxProcess = false }) { (office) async throws -> Void in
            let client = try await office.client()
            _ = try await client.say("USER bob")
            #expect(try await client.say("PASS secret").hasPrefix("-ERR [SYS/TEMP]"))
            client.connection.close()
        }
    }

    @Test func passwordsWaitForTLSAndWhatCameBeforeItIsThrownAway() async throws {
        let context = try TLSContext(clientVerifying: false)
        try await PostOffice.run({ $0.plaintext = false }) { (office) async throws -> Void in
            let client = try await office.client()
            #expect(try await client.say("USER bob").hasPrefix("-ERR"))
            #expect(try await client.ask("CAPA").contains("STLS"))
            #expect(try await client.say("STLS\r\nUSER mallory").hasPrefix("+OK"))
            try await client.connection.startTLS(client: context, serverName: nil)
            let capabilities = try await client.ask("CAPA")
            #expect(!capabilities.contains("STLS"))
            #expect(capabilities.contains { $0.hasPrefix("SASL") && $0.contains("PLAIN") })
            // NUL bob NUL secret
            #expect(try await client.say("AUTH PLAIN AGJvYgBzZWNyZXQ=").hasPrefix("+OK"))
            #expect(try await client.say("STAT") == "+OK 3 81")
            client.connection.close()
        }
    }

    @Test func commandsMayComeTogether() async throws {
        try await PostOffice.run { (office) async throws -> Void in
            let client = try await office.client()
            client.connection.write("USER bob\r\nPASS secret\r\nSTAT\r\nNOOP\r\nQUIT\r\n")
            try await client.connection.flush()
            var answers: [String] = []
            for _ in 0..<5 { answers.append(try await client.line()) }
            #expect(answers.allSatisfy { $0.hasPrefix("+OK") })
            #expect(answers[2] == "+OK 3 81")
            client.connection.close()
        }
    }
}
