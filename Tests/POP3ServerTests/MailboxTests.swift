import Network
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// What a session does with mailboxes of both formats.
@Suite struct MailboxTests {
    private static let mbox = """
        From alice@example.net Mon Nov 23 15:40:35 2026
        Subject: one

        first
        >From here

        From alice@example.net Mon Nov 23 15:40:36 2026
        Subject: two

        .second

        """

    /// The octets of a message as they were sent, without dot-stuffing.
    private static func octets(_ lines: [String]) -> Int {
        lines.reduce(0) { $0 + ($1.hasPrefix(".") ? $1.dropFirst() : $1[...]).utf8.count + 2 }
    }

    @Test func sizesAreTheOctetsThatAreSent() async throws {
        let messages = [
            "", "\n", "Subject: crlf\r\n\r\n.\r\nx\r\n",
            "Subject: mixed\n\r\n.a\r\nb\n", ".\n", "Subject: empty lines\n\n\n\n\n",
            "Subject: long\n\n"
                + String(repeating: "...................................................\n", count: 5000),
        ]
        try await PostOffice.run({ $0.messages = messages }) { (office) async throws in
            let client = try await office.login()
            let sizes = try await client.ask("LIST")
            #expect(sizes.count == messages.count)
            var total = 0
            for size in sizes {
                let words = size.split(separator: " ")
                let octets = Self.octets(try await client.ask("RETR \(words[0])"))
                #expect(words.count == 2 && words[1] == "\(octets)", "message \(size)")
                #expect(try await client.say("LIST \(words[0])") == "+OK \(size)")
                total += octets
            }
            #expect(try await client.say("STAT") == "+OK \(messages.count) \(total)")
            client.connection.close()
        }
    }

    /// POP3 has no way to say that a last line is unfinished.
    @Test func anUnfinishedLastLineIsFinished() async throws {
        try await PostOffice.run({ $0.messages = ["Subject: x\n\nbody"] }) { (office) async throws in
            let client = try await office.login()
            #expect(try await client.ask("RETR 1") == ["Subject: x", "", "body"])
            #expect(try await client.ask("TOP 1 1") == ["Subject: x", "", "body"])
            client.connection.close()
        }
    }

    @Test func marksAreSeenByTheirSessionAlone() async throws {
        try await PostOffice.run { (office) async throws in
            let client = try await office.login()
            let identifiers = try await client.ask("UIDL")
            #expect(try await client.say("DELE 2").hasPrefix("+OK"))
            #expect(try await client.say("STAT") == "+OK 2 50")
            #expect(try await client.ask("LIST") == ["1 23", "3 27"])
            #expect(try await client.ask("UIDL") == [identifiers[0], identifiers[2]])
            for command in ["DELE 2", "RETR 2", "TOP 2 0", "LIST 2", "DELE 0", "DELE -1"] {
                #expect(try await client.say(command).hasPrefix("-ERR"), "\(command)")
            }
            #expect(try await client.say("RSET").hasPrefix("+OK"))
            #expect(try await client.say("STAT") == "+OK 3 81")
            #expect(try await client.say("UIDL 2") == "+OK \(identifiers[1])")
            #expect(try await client.say("NOOP").hasPrefix("+OK"))
            for command in ["USER bob", "AUTH PLAIN"] {
                #expect(try await client.say(command).hasPrefix("-ERR"))
            }
            client.connection.close()
        }
    }

    @Test func whoIsSentAwayDeletesNothing() async throws {
        try await PostOffice.run { (office) async throws in
            let client = try await office.login()
            client.connection.write("DELE 1\r\n" + String(repeating: "XYZZY\r\n", count: 10) + "QUIT\r\n")
            try await client.connection.flush()
            let lines = try await client.untilEnd().split(separator: "\r\n")
            #expect(lines.count == 11 && lines.dropFirst().allSatisfy { $0.hasPrefix("-ERR") })
            client.connection.close()
            // The session was over before its connection was.
            let next = try await office.login()
            #expect(try await next.say("STAT") == "+OK 3 81")
            next.connection.close()
        }
    }

    @Test func whatComesTogetherBeforeQuitIsDone() async throws {
        try await PostOffice.run { (office) async throws in
            let client = try await office.client()
            client.connection.write("USER bob\r\nPASS secret\r\nDELE 1\r\nDELE 3\r\nRETR 2\r\nQUIT\r\n")
            try await client.connection.flush()
            client.connection.endOutput()
            let text = try await client.untilEnd()
            #expect(text.hasSuffix("Subject: two\r\n\r\n..dot\r\n...\r\nend\r\n.\r\n+OK bye\r\n"))
            client.connection.close()
            let next = try await office.login()
            #expect(try await next.ask("LIST") == ["1 31"])
            next.connection.close()
        }
    }

    @Test func topEndsWhereItShould() async throws {
        try await PostOffice.run { (office) async throws in
            let client = try await office.login()
            #expect(try await client.ask("TOP 2 0") == ["Subject: two", ""])
            #expect(try await client.ask("TOP 2 1") == ["Subject: two", "", "..dot"])
            #expect(try await client.ask("TOP 2 9999999999") == ["Subject: two", "", "..dot", "...", "end"])
            client.connection.close()
        }
    }

    @Test func anMboxIsAMaildropToo() async throws {
        let change: @Sendable (inout PostOffice.Options) -> Void = { options in
            options.format = "mbox"
            options.mbox = Self.mbox
        }
        try await PostOffice.run(change) { (office) async throws in
            let client = try await office.login()
            let identifiers = try await client.ask("UIDL")
            #expect(identifiers.count == 2)
            let first = try await client.ask("RETR 1")
            #expect(first == ["Subject: one", "", "first", "From here"])
            #expect(try await client.ask("LIST").first == "1 \(Self.octets(first))")
            #expect(try await client.ask("RETR 2") == ["Subject: two", "", "..second"])
            #expect(try await client.say("DELE 1").hasPrefix("+OK"))
            #expect(try await client.say("QUIT").hasPrefix("+OK"))
            client.connection.close()
            let next = try await office.login()
            #expect(try await next.ask("UIDL") == ["1 " + (identifiers[1].split(separator: " ").last ?? "")])
            #expect(try await next.ask("RETR 1") == ["Subject: two", "", "..second"])
            next.connection.close()
        }
    }

    @Test func anEmptyMaildropIsEmpty() async throws {
        try await PostOffice.run({ $0.messages = [] }) { (office) async throws in
            let client = try await office.login()
            #expect(try await client.say("STAT") == "+OK 0 0")
            #expect(try await client.ask("LIST").isEmpty)
            #expect(try await client.ask("UIDL").isEmpty)
            #expect(try await client.say("QUIT").hasPrefix("+OK"))
            client.connection.close()
        }
    }

    @Test func aMessageThatWasTakenAwayIsAFaultOfItsOwn() async throws {
        try await PostOffice.run { (office) async throws in
            let client = try await office.login()
            #expect(unlinkAll("\(office.directory)/mail/bob") == 3)
            #expect(try await client.say("RETR 1").hasPrefix("-ERR"))
            #expect(try await client.say("STAT") == "+OK 3 81")
            #expect(try await client.say("DELE 2").hasPrefix("+OK"))
            #expect(try await client.say("QUIT").hasPrefix("+OK"))
            client.connection.close()
        }
    }

    /// Removes the messages of a Maildir; returns how many there were.
    private func unlinkAll(_ maildir: String) -> Int {
        var count = 0
        for part in ["new", "cur"] {
            guard let directory = opendir("\(maildir)/\(part)") else { continue }
            defer { closedir(directory) }
            while let entry = readdir(directory) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if unlink("\(maildir)/\(part)/\(name)") == 0 { count += 1 }
            }
        }
        return count
    }
}
