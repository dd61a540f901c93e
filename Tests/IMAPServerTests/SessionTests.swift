import Encodings
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
            #expect(
                try await client.command("FETCH 1 BODY.PEEK[]<5000000000.9223372036854775807>")[0]
                    == "* 1 FETCH (BODY[]<5000000000> {0}"
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

    /// Words in all kinds of character sets, in the header and in the body.
    @Test(arguments: [
        ("gb2312", "u+HS6c2o1qo=", "会议通知"), ("iso-2022-jp", "GyRCJCpDTiRpJDsbKEI=", "お知らせ"),
        ("koi8-r", "8NLJ18XU", "привет"), ("windows-1250", "s/Pf", "łóß"), ("shift_jis", "k/qWew==", "日本"),
        ("euc-kr", "x9Gx2w==", "한글"), ("big5", "p0Gmbg==", "你好"), ("utf-7", "K0pqby0=", "☺"),
        ("iso-8859-1", "/OQ=", "üä"), ("utf-8", "w7zDpA==", "üä"),
    ]) func searchDecodes(charset: String, word: String, meaning: String) async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            let type = "Content-Type: text/plain; charset=\(charset)\r\nContent-Transfer-Encoding: base64"
            try await append(client, "Subject: =?\(charset)?B?\(word)?=\r\n\r\nnothing\r\n")
            try await append(client, "Subject: nothing\r\n\(type)\r\n\r\n\(word)\r\n")
            _ = try await client.command("SELECT INBOX")
            let key = "{\(meaning.utf8.count)+}\r\n\(meaning)"
            #expect(try await client.command("SEARCH CHARSET UTF-8 SUBJECT \(key)")[0] == "* SEARCH 1")
            #expect(try await client.command("SEARCH CHARSET UTF-8 BODY \(key)")[0] == "* SEARCH 2")
            #expect(try await client.command("SEARCH CHARSET UTF-8 TEXT \(key)")[0] == "* SEARCH 1 2")
        }
    }

    /// One decoder goes through a part: a character, or the shift of a set, may lie across two reads.
    @Test(arguments: [("utf-8", "8bit"), ("iso-2022-jp", "7bit"), ("gb2312", "8bit"), ("utf-8", "base64")])
    func searchGoesOnAcrossReads(charset: String, encoding: String) async throws {
        let word: [UInt8] =
            switch charset {
            case "iso-2022-jp": [0x1B, 0x24, 0x42, 0x46, 0x7C, 0x4B, 0x5C, 0x1B, 0x28, 0x42]
            case "gb2312": [0xC8, 0xD5, 0xB1, 0xBE]
            default: Array("日本".utf8)
            }
        try await TestSystem.run { system in
            let client = try await system.client()
            // Of the word's octets, each once is the last before octet 65,536 of the body.
            let starts = Array(0...word.count)
            for start in starts {
                let filling = [UInt8](repeating: UInt8(ascii: "x"), count: 65_536 - start)
                var body = filling + word + Array(" y".utf8)
                if encoding == "base64" {
                    body = Array(Base64.text(Array(filling.prefix(49_152 - start)) + word).utf8)
                }
                let header =
                    "Content-Type: text/plain; charset=\(charset)\r\nContent-Transfer-Encoding: \(encoding)\r\n\r\n"
                try await client.append(Array(header.utf8) + body + Array("\r\n".utf8))
            }
            _ = try await client.command("SELECT INBOX")
            let found = try await client.command("SEARCH CHARSET UTF-8 BODY {6+}\r\n日本")[0]
            #expect(found == "* SEARCH " + starts.map { String($0 + 1) }.joined(separator: " "))
        }
    }

    @Test func searchUnfoldsFields() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await append(client, "Subject: one\r\n\ttwo\r\n three\r\n\r\nfour\tfive\r\n")
            _ = try await client.command("SELECT INBOX")
            for key in ["SUBJECT \"one two three\"", "TEXT \"one\ttwo three\"", "BODY \"four\tfive\""] {
                #expect(try await client.command("SEARCH \(key)")[0] == "* SEARCH 1", "\(key)")
            }
            #expect(try await client.command("SEARCH BODY \"four five\"")[0] == "* SEARCH")
        }
    }

    /// What can't be looked into is searched as it is.
    @Test func searchReadsWhatHasNoParts() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            let start = "From: a@b.test\r\nContent-Type: "
            try await append(client, "\(start)multipart/mixed; boundary=b\r\n\r\nonly wörds\r\n--b--\r\n")
            try await append(
                client,
                "\(start)message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nb25seSB3w7ZyZHM=\r\n"
            )
            try await append(client, "only wörds and no header\r\n")
            try await append(client, "\(start)message/rfc822\r\n\r\nonly wörds\r\n")
            _ = try await client.command("SELECT INBOX")
            #expect(try await client.command("SEARCH CHARSET UTF-8 BODY {6+}\r\nWÖRDS")[0] == "* SEARCH 1 2 3 4")
        }
    }

    /// One rule says where the header ends, whichever item is asked for first.
    @Test(
        arguments: [
            ("Hello Ann,\r\n\r\nSubject: no field\r\n\r\nBye\r\n", 0, nil),
            ("Hello Ann, how are you?\r\n", 0, nil),
            ("One line.\r\nSubject: more\r\nwith junk\r\n\r\nx\r\n", 39, "more"),
            ("\r\nbody\r\n", 2, nil), ("Subject: all\r\n", 14, "all"),
            ("From a@b Thu Jan  1 00:00:00 2026\r\nSubject: mbox\r\n\r\nbody\r\n", 52, "mbox"),
            ("X: \(String(repeating: "x ", count: 3000))\r\nSubject: end\r\n\r\nbody\r\n", 6021, "end"),
        ] as [(String, Int, String?)]
    ) func headersEndInOnePlace(message: String, end: Int, subject: String?) async throws {
        let whole = message.utf8.count
        try await TestSystem.run { system in
            let client = try await system.client()
            try await client.append(Array(message.utf8))
            for isStructureKnown in [false, true] {
                _ = try await client.command("SELECT INBOX")
                if isStructureKnown {
                    let structure = try await client.command("FETCH 1 BODY")[0]
                    #expect(structure.contains("\"7bit\" \(whole - end) "), "\(structure)")
                }
                let header = try await client.command("FETCH 1 BODY.PEEK[HEADER]")[0]
                #expect(header == "* 1 FETCH (BODY[HEADER] {\(end)}")
                let text = try await client.command("FETCH 1 BODY.PEEK[TEXT]")[0]
                #expect(text == "* 1 FETCH (BODY[TEXT] {\(whole - end)}")
                let envelope = try await client.command("FETCH 1 ENVELOPE")[0]
                #expect(envelope.hasPrefix("* 1 FETCH (ENVELOPE (NIL NIL NIL") == (subject == nil), "\(envelope)")
                #expect(envelope.contains("\(subject ?? "NIL")\" NIL") == (subject != nil), "\(envelope)")
                let found = try await client.command("SEARCH HEADER SUBJECT \"\(subject ?? "")\"")[0]
                #expect(found == (subject == nil ? "* SEARCH" : "* SEARCH 1"))
            }
        }
    }

    /// ENVELOPE reads addresses by the rules of recovery.
    @Test func envelopesOfBrokenAddresses() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await append(client, "From: Mail Delivery System\r\nTo: Doe, John <john@x.test>\r\n\r\nx\r\n")
            try await append(client, "From: Anna (Team <anna@x.test>\r\nTo: b@x.test <b@x.test>\r\n\r\nx\r\n")
            _ = try await client.command("SELECT INBOX")
            let one = try await client.command("FETCH 1 ENVELOPE")[0]
            #expect(one.contains("((\"Mail Delivery System\" NIL \"\" \"\"))"))
            #expect(one.contains("((\"Doe, John\" NIL \"john\" \"x.test\"))"))
            let two = try await client.command("FETCH 2 ENVELOPE")[0]
            #expect(two.contains("NIL \"anna\" \"x.test\"))") && two.contains("((\"b@x.test\" NIL \"b\" \"x.test\"))"))
        }
    }
}
