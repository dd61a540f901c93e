import Testing

@testable import IMAPServer

#if canImport(Glibc)
import Glibc
#endif

/// MULTIAPPEND, CATENATE, REPLACE, BINARY and PREVIEW.
@Suite struct AppendExtensionTests {
    private static let one = "Subject: one\r\n\r\nfirst\r\n"
    private static let two = "Subject: two\r\n\r\nsecond\r\n"

    private static func literal(_ text: String, _ sign: String = "+") -> String {
        "{\(text.utf8.count)\(sign)}\r\n\(text)"
    }

    /// RFC 3502
    @Test func severalMessages() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            let (one, two) = (Self.literal(Self.one), Self.literal(Self.two))
            let answer = try await client.command(
                "APPEND INBOX (\\Seen) \"02-Jan-2026 10:00:00 +0000\" \(one) (\\Flagged $Work) \(two)"
            )
            #expect(answer.last?.contains("[APPENDUID ") == true && answer.last?.contains(" 1:2] ") == true)
            _ = try await client.ok("SELECT INBOX")
            #expect(try await client.ok("FETCH 1 (FLAGS INTERNALDATE)")[0].contains("\\Seen"))
            #expect(try await client.ok("FETCH 1 INTERNALDATE")[0].contains("\" 2-Jan-2026 10:00:00 +0000\""))
            #expect(try await client.ok("FETCH 2 FLAGS")[0].contains("\\Flagged"))
            #expect(try await client.ok("FETCH 2 BODY.PEEK[TEXT]").contains("second"))
        }
    }

    /// All of them, or none.
    @Test func oneThatFailsTakesAllWithIt() async throws {
        try await TestSystem.run { system in
            let client = try await system.client(as: "limited")
            let (one, two) = (Self.literal(Self.one), Self.literal(Self.two))
            let nul = Self.literal("a\0b")
            let large = Self.literal(String(repeating: "x", count: 15_000))
            for (text, answer) in [
                ("\(one) \(two) {0+}\r\n", " NO "), ("\(one) \(nul) \(two)", " NO "),
                ("\(one) (\\Seen \(two)", " BAD "),
                ("\(one) \(large) \(large)", "[OVERQUOTA]"), ("\(one) {9999999+}", "[TOOBIG]"),
            ] where !text.hasSuffix("9999999+}") {
                #expect(try await client.command("APPEND INBOX \(text)").last?.contains(answer) == true, "\(answer)")
                #expect(try await client.ok("STATUS INBOX (MESSAGES)")[0].contains("(MESSAGES 0)"), "\(answer)")
            }
            // A literal that was to be asked for.
            #expect(try await client.command("APPEND INBOX \(one) {9999999}").last?.contains("[TOOBIG]") == true)
            #expect(try await client.command("APPEND nowhere {5}").last?.contains("[TRYCREATE]") == true)
            #expect(try await client.ok("STATUS INBOX (MESSAGES)")[0].contains("(MESSAGES 0)"))
            let many = Array(repeating: one, count: 101).joined(separator: " ")
            #expect(try await client.command("APPEND INBOX \(many)").last?.contains("[LIMIT]") == true)
            #expect(try await client.ok("STATUS INBOX (MESSAGES)")[0].contains("(MESSAGES 0)"))
            #expect(TestSystem.names(in: "\(system.directory)/mail/limited/tmp") == [])
        }
    }

    /// The quota counts all messages of a command before they are written.
    @Test func copiesByURLAreWithinTheQuota() async throws {
        try await TestSystem.run { system in
            let client = try await system.client(as: "limited")
            try await client.append(Array("Subject: x\r\n\r\n\(String(repeating: "x", count: 9_000))\r\n".utf8))
            let copy = "CATENATE (URL \"/INBOX/;UID=1\")"
            #expect(try await client.command("APPEND INBOX \(copy) \(copy)").last?.contains("[OVERQUOTA]") == true)
            #expect(try await client.command("APPEND INBOX \(copy)").last?.contains(" OK ") == true)
            #expect(try await client.ok("STATUS INBOX (MESSAGES)")[0].contains("(MESSAGES 2)"))
        }
    }

    /// A literal that can't be filled ends the connection: nothing else can tell the client.
    @Test func aMessageThatIsShorterThanItsNameSays() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            _ = try await client.ok("SELECT INBOX")
            let text = "Subject: x\n\nbody\n"
            let path = "\(system.directory)/mail/alice/cur/1.M1P1.host,S=\(text.utf8.count),W=110:2,"
            let file = open(path, O_WRONLY | O_CREAT, 0o600)
            #expect(write(file, text, text.utf8.count) == text.utf8.count)
            close(file)
            #expect(try await client.ok("NOOP").contains("* 1 EXISTS"))
            await #expect(throws: (any Error).self) { _ = try await client.command("FETCH 1 BINARY.PEEK[]") }
        }
    }

    /// The client goes in the middle: nothing is left.
    @Test func theClientGoes() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await client.send("a APPEND INBOX \(Self.literal(Self.one)) {100+}\r\nhalf")
            client.close()
            let other = try await system.client()
            #expect(try await other.ok("STATUS INBOX (MESSAGES)")[0].contains("(MESSAGES 0)"))
        }
    }

    /// RFC 4469 §5
    @Test func catenation() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            let parts =
                "Subject: old\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\r\nyou\r\n--b--\r\n"
            try await client.append(parts)
            let answer = try await client.ok(
                "APPEND INBOX (\\Draft) CATENATE (TEXT \(Self.literal("Subject: new\r\n\r\n")) "
                    + "URL \"/INBOX;UIDVALIDITY=\(try await Self.validity(client))/;UID=1/;SECTION=2\" "
                    + "TEXT \(Self.literal("!\r\n")) URL /INBOX/;UID=1/;SECTION=1/;PARTIAL=1.3)"
            )
            #expect(answer.isEmpty)
            _ = try await client.ok("SELECT INBOX")
            let text = try await client.ok("FETCH 2 BODY.PEEK[]").dropFirst().joined(separator: "\n")
            #expect(text.hasPrefix("Subject: new\n\nyou!\nell"), "\(text)")
            _ = try await client.ok("APPEND INBOX CATENATE (URL \";UID=1\")")
            _ = try await client.ok("APPEND INBOX CATENATE (URL \"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(SUBJECT)\")")
            #expect(try await client.ok("FETCH 3 RFC822.SIZE")[0].contains("RFC822.SIZE \(parts.utf8.count)"))
            #expect(try await client.ok("FETCH 4 BODY.PEEK[]")[1] == "Subject: old")
            for url in [
                "/INBOX/;UID=99", "/nowhere/;UID=1", "/INBOX;UIDVALIDITY=1/;UID=1", "/INBOX/;UID=1/;SECTION=9",
                "imap://other/INBOX/;UID=1", "nonsense",
            ] {
                let refused = try await client.command(
                    "APPEND INBOX CATENATE (URL \"\(url)\" TEXT \(Self.literal("more")))"
                )
                #expect(refused.last?.contains(" NO [BADURL \"\(url)\"]") == true, "\(refused)")
            }
            #expect(try await client.ok("STATUS INBOX (MESSAGES)")[0].contains("(MESSAGES 4)"))
        }
    }

    private static func validity(_ client: TestClient) async throws -> String {
        let status = try await client.ok("STATUS INBOX (UIDVALIDITY)")[0]
        return String(status.drop { $0 != "(" }.filter(\.isNumber))
    }

    /// However many pieces a message has, it's no larger than others.
    @Test func catenationIsLimited() async throws {
        try await TestSystem.run(messageLimit: 1000) { system in
            let client = try await system.client()
            try await client.append("Subject: x\r\n\r\n\(String(repeating: "x", count: 600))\r\n")
            let answer = try await client.command("APPEND INBOX CATENATE (URL /INBOX/;UID=1 URL /INBOX/;UID=1)")
            #expect(answer.last?.contains(" NO [TOOBIG]") == true)
        }
    }

    /// RFC 8508 §3
    @Test func replacing() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            for text in [Self.one, Self.one] { try await client.append(text) }
            _ = try await client.ok("SELECT INBOX")
            let answer = try await client.ok("REPLACE 1 INBOX (\\Draft) \(Self.literal(Self.two))")
            #expect(answer.first?.hasPrefix("* OK [APPENDUID ") == true && answer.first?.contains(" 3]") == true)
            #expect(answer.contains("* 1 EXPUNGE"))
            #expect(try await client.ok("UID SEARCH ALL") == ["* SEARCH 2 3"])
            #expect(try await client.ok("UID FETCH 3 (FLAGS)")[0].contains("\\Draft"))
            _ = try await client.ok("CREATE Work")
            _ = try await client.ok("UID REPLACE 2 Work \(Self.literal(Self.two))")
            #expect(try await client.ok("UID SEARCH ALL") == ["* SEARCH 3"])
            #expect(try await client.ok("STATUS Work (MESSAGES)") == ["* STATUS Work (MESSAGES 1)"])
            // Nothing goes where nothing comes.
            for command in ["UID REPLACE 3 nowhere", "REPLACE 9 INBOX", "UID REPLACE 99 INBOX"] {
                let refused = try await client.command("\(command) \(Self.literal(Self.two))")
                #expect(refused.last?.contains(" OK ") == false, "\(command)")
            }
            #expect(try await client.ok("UID SEARCH ALL") == ["* SEARCH 3"])
            _ = try await client.ok("EXAMINE INBOX")
            #expect(
                try await client.command("REPLACE 1 Work \(Self.literal(Self.two))").last?.contains("READ-ONLY") == true
            )
            _ = try await client.ok("UNSELECT")
            #expect(
                try await client.command("REPLACE 1 Work \(Self.literal(Self.two))").last?.contains(" BAD ") == true
            )
        }
    }

    // MARK: FETCH

    private static let mixed =
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVsbG8A\r\nd29ybGQ=\r\n"
        + "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc\r\n"
        + "--b\r\nContent-Transfer-Encoding: x-strange\r\n\r\nwhat\r\n--b\r\n\r\nplain\r\n--b--\r\n"

    /// RFC 3516
    @Test func binary() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await client.append(Self.mixed)
            _ = try await client.ok("SELECT INBOX")
            #expect(try await client.ok("FETCH 1 BINARY.SIZE[1]") == ["* 1 FETCH (BINARY.SIZE[1] 11)"])
            #expect(
                try await client.ok("FETCH 1 BINARY.PEEK[1]").joined(separator: "\n")
                    == "* 1 FETCH (BINARY[1] ~{11}\nHello\0world)"
            )
            #expect(
                try await client.ok("FETCH 1 (BINARY.PEEK[1]<6.3> BINARY.PEEK[2])").joined(separator: "\n")
                    == "* 1 FETCH (BINARY[1]<6> ~{3}\nwor BINARY[2] ~{4}\na=bc)"
            )
            #expect(try await client.ok("FETCH 1 BINARY.PEEK[4]")[1] == "plain)")
            #expect(
                try await client.ok("FETCH 1 (BINARY.PEEK[9] BINARY.SIZE[9])")[0].contains(
                    "BINARY[9] NIL BINARY.SIZE[9] 0"
                )
            )
            #expect(try await client.ok("FETCH 1 BINARY.SIZE[]")[0].contains("BINARY.SIZE[] \(Self.mixed.utf8.count)"))
            #expect(try await client.ok("FETCH 1 FLAGS")[0].contains("\\Seen") == false)
            for item in ["BINARY.PEEK[3]", "BINARY.SIZE[3]"] {
                #expect(try await client.command("FETCH 1 \(item)").last?.contains(" NO [UNKNOWN-CTE]") == true)
            }
            #expect(try await client.ok("FETCH 1 BINARY[4]<0.2>").last?.contains("\\Seen") == true)
        }
    }

    /// A large part is counted and sent in pieces.
    @Test func largeBinary() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            let line = String(repeating: "QUJD", count: 19) + "\r\n"
            try await client.append("Content-Transfer-Encoding: base64\r\n\r\n\(String(repeating: line, count: 5000))")
            _ = try await client.ok("SELECT INBOX")
            let count = 19 * 3 * 5000
            let lines = try await client.ok("FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1])")
            #expect(lines[0] == "* 1 FETCH (BINARY.SIZE[1] \(count) BINARY[1] ~{\(count)}")
            #expect(lines[1] == String(repeating: "ABC", count: count / 3) + ")")
            #expect(try await client.ok("FETCH 1 BINARY.PEEK[1]<\(count - 4).100>")[1] == "CABC)")
        }
    }

    /// RFC 3516 §4.4
    @Test func binaryLiterals() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            _ = try await client.ok("APPEND INBOX ~{5+}\r\na: b\n")
            let refused = try await client.command("APPEND INBOX ~{3+}\r\na\0b")
            #expect(refused.last?.contains(" NO [UNKNOWN-CTE]") == true)
        }
    }

    /// RFC 8970 §3.2: at most 256 characters, however many of them people take for one.
    @Test func previewsAreShort() {
        let marked = "e" + String(repeating: "\u{301}", count: 5000)
        let short = String(decoding: MessagePreview.shortened(Array(marked.utf8)), as: UTF8.self)
        #expect(short.unicodeScalars.count == 200 && marked.unicodeScalars.starts(with: short.unicodeScalars))
        let blanks = Array(" a\r\n\0 b\u{A0}\u{2003}\u{FC} ".utf8)
        #expect(MessagePreview.shortened(blanks) == Array("a b \u{FC}".utf8))
        #expect(MessagePreview.shortened([]) == [])
    }

    /// RFC 8970
    @Test func previews() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            let html = "Content-Type: text/html\r\n\r\n<style>p {}</style><p>Dear&nbsp;<b>you</b>,<br>hello</p>\r\n"
            try await client.append("Subject: x\r\n\r\n  two\r\n\r\nwords  \r\n")
            try await client.append(html)
            try await client.append(
                "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\(html)--b\r\n\r\nplain\r\n--b--\r\n"
            )
            try await client.append("Content-Type: image/png\r\n\r\nAAAA\r\n")
            let long = String(repeating: "w\u{FC}rd ", count: 100)
            try await client.append("Content-Type: text/plain; charset=utf-8\r\n\r\n\(long)\r\n")
            _ = try await client.ok("SELECT INBOX")
            #expect(try await client.ok("FETCH 1 PREVIEW") == ["* 1 FETCH (PREVIEW \"two words\")"])
            let shown = try await client.ok("FETCH 2 PREVIEW").joined(separator: "\n")
            #expect(
                shown.contains("you") && shown.contains("hello") && !shown.contains("style") && !shown.contains("<")
            )
            #expect(try await client.ok("FETCH 3 PREVIEW (LAZY)") == ["* 3 FETCH (PREVIEW \"plain\")"])
            #expect(try await client.ok("FETCH 4 PREVIEW") == ["* 4 FETCH (PREVIEW \"\")"])
            let cut = try await client.ok("FETCH 5 PREVIEW")
            #expect(cut[1] == String(long.prefix(199)) + ")", "\(cut)")
            #expect(try await client.ok("FETCH 1 FLAGS")[0].contains("\\Seen") == false)
        }
    }
}
