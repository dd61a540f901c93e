import Testing

@testable import IMAPServer

/// Which command is taken in which state (RFC 3501 §3), and that it makes no difference how octets arrive.
@Suite struct StateTests {
    private static let afterLogin = [
        "SELECT INBOX", "EXAMINE INBOX", "CREATE x", "DELETE x", "RENAME x y", "SUBSCRIBE x", "UNSUBSCRIBE x",
        "LIST \"\" *", "LSUB \"\" *", "STATUS INBOX (MESSAGES)", "NAMESPACE", "ENABLE IMAP4rev2", "GETQUOTAROOT INBOX",
        "COMPRESS DEFLATE", "ESEARCH IN (inboxes) ALL",
    ]
    private static let selected = [
        "CHECK", "EXPUNGE", "UID EXPUNGE 1:*", "SEARCH ALL", "UID SEARCH ALL", "SORT (DATE) UTF-8 ALL",
        "UID SORT (DATE) UTF-8 ALL", "THREAD REFS UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL", "UID FETCH 1:* FLAGS",
        "UID STORE 1:* +FLAGS (\\Seen)", "UID COPY 1:* INBOX", "UID MOVE 99 INBOX", "FETCH $ FLAGS", "ESEARCH ALL",
    ]

    @Test func beforeTheLogin() async throws {
        try await TestSystem.run { system in
            for command in Self.afterLogin + Self.selected + ["IDLE", "CLOSE", "UNSELECT"] {
                let client = try await system.client(loggedIn: false)
                #expect(try await client.command(command).last?.contains(" BAD ") == true, "\(command)")
                client.close()
            }
            let client = try await system.client(loggedIn: false)
            for command in ["CAPABILITY", "NOOP", "ID NIL"] { _ = try await client.ok(command) }
            #expect(try await client.command("STARTTLS").last?.contains(" OK ") == false)
        }
    }

    @Test func withoutAndWithAMailbox() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            for command in Self.selected + ["CLOSE", "UNSELECT"] {
                let other = try await system.client()
                #expect(try await other.command(command).last?.contains(" BAD ") == true, "\(command)")
                other.close()
            }
            for command in ["LOGIN alice secret", "AUTHENTICATE PLAIN", "STARTTLS"] {
                #expect(try await client.command(command).last?.contains(" BAD ") == true, "\(command)")
            }
            try await client.append("Subject: x\r\n\r\nx\r\n")
            _ = try await client.ok("SELECT INBOX")
            for command in Self.selected { _ = try await client.ok(command) }
            _ = try await client.ok("CLOSE")
            #expect(try await client.command("CHECK").last?.contains(" BAD ") == true)
            _ = try await client.ok("SELECT INBOX")
            _ = try await client.ok("UNSELECT")
            #expect(try await client.command("CHECK").last?.contains(" BAD ") == true)
            for command in Self.afterLogin where !command.hasPrefix("COMPRESS") {
                let answer = try await client.command(command).last ?? ""
                #expect(answer.contains(" OK ") || answer.contains(" NO "), "\(command): \(answer)")
            }
        }
    }

    @Test func readOnlyMailboxes() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await client.append("Subject: x\r\n\r\nx\r\n")
            _ = try await client.ok("EXAMINE INBOX")
            for command in ["STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 INBOX", "UID MOVE 1 INBOX"] {
                #expect(try await client.command(command).last?.contains(" NO [READ-ONLY]") == true, "\(command)")
            }
            _ = try await client.ok("FETCH 1 (BODY[] BINARY[1])")
            #expect(try await client.ok("FETCH 1 FLAGS")[0].contains("\\Seen") == false)
        }
    }

    private static let transcript =
        "a CAPABILITY\r\nb CREATE \"Entw&APw-rfe\"\r\nc APPEND INBOX (\\Seen) \"02-Jan-2026 10:00:00 +0000\" {28+}\r\n"
        + "Subject: one\r\n\r\nfirst text\r\n (\\Flagged) \"03-Jan-2026 10:00:00 +0000\" {21+}\r\nSubject: two\r\n\r\nmore\n\r\nd SELECT {5+}\r\nINBOX\r\n"
        + "e FETCH 1:2 (FLAGS INTERNALDATE ENVELOPE BODYSTRUCTURE BODY.PEEK[TEXT] BINARY.SIZE[1] PREVIEW)\r\n"
        + "f SEARCH RETURN (SAVE COUNT) SUBJECT {3+}\r\ntwo\r\ng FETCH $ UID\r\nh SORT (REVERSE SUBJECT) UTF-8 ALL\r\n"
        + "i THREAD ORDEREDSUBJECT UTF-8 ALL\r\nj STORE 1 -FLAGS (\\Seen )\r\nk NONSENSE {4+}\r\nabcd\r\nl COPY 1 nowhere\r\n"
        + "m UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\nn LIST (SUBSCRIBED) \"\" (* %) RETURN (CHILDREN)\r\n"
        + "o APPEND INBOX CATENATE (URL /INBOX/;UID=1/;SECTION=HEADER TEXT {4+}\r\nend\n URL {13+}\r\n/INBOX/;UID=9)\r\n"
        + "p UID REPLACE 1 INBOX {14+}\r\nSubject: new\r\n\r\nq STATUS INBOX (MESSAGES UIDNEXT SIZE)\r\nr NOOP \r\ns CLOSE\r\n"
        + "t SELECT\r\n\r\nu LOGOUT\r\n"

    /// What is said does not depend on how it arrives: at once, in pieces, or an octet at a time.
    @Test func piecesMakeNoDifference() async throws {
        var heard: [[String]] = []
        for piece in [Int.max, 100, 7, 1] {
            let lines = Carrier<[String]>([])
            try await TestSystem.run { system in
                let client = try await system.client()
                var rest = Array(Self.transcript.utf8)[...]
                while !rest.isEmpty {
                    try await client.send(Array(rest.prefix(piece)))
                    rest = rest.dropFirst(piece)
                }
                lines.value = try await client.lines(to: "u ")
            }
            heard.append(lines.value.map(Self.withoutValidity))
        }
        #expect(
            heard[0].filter { $0.prefix(2).last == " " && $0.contains(" BAD ") }.map { $0.prefix(1) } == [
                "k", "t", "*",
            ]
        )
        #expect(heard[0].contains { $0.hasPrefix("o NO [BADURL ") } && heard[0].contains { $0.hasPrefix("p OK ") })
        for other in heard.dropFirst() { #expect(other == heard[0]) }
    }

    /// UIDVALIDITY is another one in each run, and so are modification sequences and identifiers.
    private static func withoutValidity(_ line: String) -> String {
        for word in ["UIDVALIDITY ", "APPENDUID ", "HIGHESTMODSEQ "] {
            if let range = line.firstRange(of: word) {
                return line[..<range.upperBound] + "x" + line[range.upperBound...].drop { $0.isNumber }
            }
        }
        if let range = line.firstRange(of: "MAILBOXID (") {
            return line[..<range.upperBound] + "x" + line[range.upperBound...].drop { $0 != ")" }
        }
        return line
    }
}

/// What a test takes out of a body that runs elsewhere, one at a time.
private final class Carrier<Value>: @unchecked Sendable {
    // Unchecked: the test waits for the body before it looks.
    var value: Value

    init(_ value: Value) { self.value = value }
}
