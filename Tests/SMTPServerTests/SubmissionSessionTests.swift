import Bus
import NIOConcurrencyHelpers
import NIOCore
import Network
import SMTP
import Testing

@testable import SMTPServer

@Suite struct SubmissionSessionTests {
    @Test func mustLogIn() async throws {
        try await TestServer.run { server in
            for kind in [ListenerKind.submission, .submissions] {
                let client = try await server.greetedClient(kind)
                #expect(try await client.say("MAIL FROM:<alice@example.test>") == "530 5.7.0 log in first")
            }
        }
    }

    @Test func submittedMessageIsCompleted() async throws {
        try await TestServer.run { server in
            let client = try await server.submittingClient()
            try await client.startMessage(from: "alice@example.test", to: "dave@example.com")
            #expect(try await client.say("Subject: hi\r\n\r\ntext\r\n.") == "250 2.0.0 queued as id1")
            let message = try #require(server.queue.messages.first)
            #expect(message.envelope["protocol"] == "ESMTPSA")
            #expect(message.envelope["user"] == "alice@example.test")
            #expect(message.text.contains("\r\n\t(using TLSv1.3 with cipher TLS_"))
            #expect(message.text.contains("\r\nDate: "))
            #expect(message.text.contains("\r\nFrom: alice@example.test\r\n"))
            #expect(message.text.contains("\r\nMessage-ID: <id1@mail.example.test>\r\nSubject: hi\r\n\r\ntext\r\n"))
        }
    }

    @Test func completeHeaderStaysAsItIs() async throws {
        try await TestServer.run { server in
            let client = try await server.submittingClient()
            try await client.startMessage(from: "alice@example.test")
            let text = "Date: then\r\nFrom: a\r\nMessage-ID: <x@y>\r\n\r\ntext\r\n"
            _ = try await client.command(text + ".")
            #expect(server.queue.messages.first?.text.hasSuffix("00\r\n" + text) == true)
        }
    }

    @Test func whatCameBehindSTARTTLSIsThrownAway() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.send("STARTTLS\r\nMAIL FROM:<evil@x>\r\nNOOP\r\n")
            #expect(try await client.reply().code == .ready)
            try await client.startTLS()
            #expect(try await client.say("RCPT TO:<bob@example.test>") == "503 5.5.1 send MAIL first")
            #expect(try await client.say("MAIL FROM:<>") == "503 5.5.1 send HELO or EHLO first")
        }
    }

    @Test(
        arguments: [
            (["AUTH PLAIN AGFsaWNlAHNlY3JldA=="], ["235 2.7.0"]),
            (["AUTH PLAIN", "AGFsaWNlAHNlY3JldA=="], ["334 ", "235 2.7.0"]),
            (["AUTH LOGIN", "YWxpY2U=", "c2VjcmV0"], ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2.7.0"]),
            (["auth login YWxpY2U=", "c2VjcmV0"], ["334 UGFzc3dvcmQ6", "235 2.7.0"]),
            (["AUTH PLAIN AGFsaWNlAHdyb25n"], ["535 5.7.8"]),
            (["AUTH PLAIN AGxhdGVyAHg="], ["454 4.7.0"]),
            (["AUTH PLAIN", "*"], ["334 ", "501 5.7.0"]),
            (["AUTH PLAIN", "!"], ["334 ", "501 5.5.2"]),
            (["AUTH PLAIN ="], ["501 5.5.2"]),
            (["AUTH CRAM-MD5"], ["504 5.5.4"]),
            (["AUTH"], ["501 5.5.4"]),
            (["AUTH PLAIN", String(repeating: "A", count: 13_000), "NOOP"], ["334 ", "500 5.5.2", "250"]),
            (["AUTH PLAIN AGFsaWNlAHNlY3JldA==", "AUTH PLAIN AGFsaWNlAHNlY3JldA=="], ["235", "503 5.5.1"]),
        ]
    )
    func logins(lines: [String], replies: [String]) async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient(.submissions)
            for (line, expected) in zip(lines, replies) {
                #expect(try await client.say(line).hasPrefix(expected))
            }
        }
    }

    @Test func authdLearnsWhoAsks() async throws {
        try await TestServer.run { server in
            _ = try await server.submittingClient()
            let question = try #require(server.questions.withLockedValue { $0.first { $0.verb == "VERIFY" } })
            #expect(question["service"] == "smtp")
            #expect(question["client"] == "127.0.0.1")
        }
    }

    @Test func sendersMayBeBoundToTheirAddresses() async throws {
        try await TestServer.run({ $0.settings.enforcesSender = true }) { server in
            let client = try await server.submittingClient()
            #expect(try await client.say("MAIL FROM:<bob@example.test>") == "553 5.7.1 not one of your addresses")
            for own in ["alice@EXAMPLE.test", "alice+list@example.test", ""] {
                #expect(try await client.say("MAIL FROM:<\(own)>") == "250 2.1.0 ok")
                _ = try await client.command("RSET")
            }
        }
        try await TestServer.run { server in
            let client = try await server.submittingClient()
            #expect(try await client.say("MAIL FROM:<bob@example.test>") == "250 2.1.0 ok")
        }
    }

    @Test(
        arguments: [
            ("From: Alice <alice@example.test>", "250 2.0.0"),
            ("From: sales@example.test, alice+x@example.test", "550 5.7.1 From: <alice+x@example.test> is not one"),
            ("FROM : (c) ALICE@EXAMPLE.test", "250 2.0.0"),
            ("From: \"alice@example.test\" <boss@example.test>", "550 5.7.1 From: <boss@example.test> is not one"),
            ("From: alice@example.test\r\nFrom: boss@example.test", "550 5.7.1 From: <boss@example.test> is not one"),
            ("From: group: alice@example.test;", "250 2.0.0"),
            ("From: undisclosed:;", "554 5.6.0 From has an address that can't be read"),
            ("From: nobody", "554 5.6.0 From has an address that can't be read"),
            ("Subject: none", "250 2.0.0"),
            ("From: alice@example.test\r\nSender: <boss@example.test>", "550 5.7.1 Sender: <boss@example.test> is not"),
            ("From: alice@example.test\r\nsender: sales@example.test", "250 2.0.0"),
            ("Resent-From: boss@example.test\r\nFrom: alice@example.test", "550 5.7.1 Resent-From: <boss@"),
            ("From: alice@example.test\r\nResent-Sender : Boss <BOSS@example.test>", "550 5.7.1 Resent-Sender: <BOSS@"),
            ("Resent-From: alice@example.test\r\nFrom: carol@example.net", "550 5.7.1 From: <carol@example.net>"),
            ("From: list: alice@example.test, boss@example.test;", "550 5.7.1 From: <boss@example.test>"),
            ("From: =?utf-8?q?boss=40example.test?=", "554 5.6.0 From"),
            ("From: boss@example.test, <alice@example.test>", "550 5.7.1 From: <boss@example.test>"),
            ("From: <@alice.example.test:boss@example.test>", "550 5.7.1 From: <boss@example.test>"),
            ("From: \"boss\"@example.test", "550 5.7.1 From: <boss@example.test>"),
            ("From: alice@example.test (boss@example.test)", "250 2.0.0"),
            ("Subject: x\r\nno field\r\nFrom: boss@example.test", "550 5.7.1 From: <boss@example.test>"),
            (" folded\r\nFrom: boss@example.test", "250 2.0.0"),
            ("From boss Mon Nov 30\r\nFrom: boss@example.test", "550 5.7.1 From: <boss@example.test>"),
            ("From:\r\n boss@example.test", "550 5.7.1 From: <boss@example.test>"),
        ]
    )
    func authorMustBeTheUser(field: String, reply: String) async throws {
        try await TestServer.run({ $0.settings.enforcesSender = true }) { server in
            let client = try await server.submittingClient()
            try await client.startMessage(from: "alice@example.test", to: "dave@example.com")
            #expect(try await client.say("\(field)\r\nDate: then\r\n\r\ntext\r\n.").hasPrefix(reply))
            #expect(server.queue.messages.count == (reply.hasPrefix("250") ? 1 : 0))
        }
    }

    @Test func authorsOfOthersAreNotAsked() async throws {
        try await TestServer.run({ $0.settings.enforcesSender = true }) { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            #expect(try await client.say("From: boss@example.test\r\n\r\ntext\r\n.").hasPrefix("250"))
        }
    }

    @Test func withoutAuthdNobodyIsToldNo() async throws {
        try await TestServer.run({ $0.settings.enforcesSender = true }) { server in
            let client = try await server.submittingClient()
            server.answers.withLockedValue { answers in
                answers[""] = { frame in .reply(.defer, status: "4.3.0", text: "not now", tag: frame["tag"]) }
            }
            #expect(try await client.say("MAIL FROM:<alice@example.test>").hasPrefix("451 4.3.0"))
        }
    }

    @Test func blindCopiesAreTakenOut() async throws {
        try await TestServer.run { server in
            let client = try await server.submittingClient()
            try await client.startMessage(from: "alice@example.test", to: "dave@example.com")
            let text =
                "To: dave@example.com\r\nBcc: eve@example.org,\r\n mallory@example.org\r\nDate: then\r\n"
                + "resent-BCC : eve@example.org\r\nFrom: a\r\nMessage-ID: <x@y>\r\n\r\nBcc: in the text\r\n"
            #expect(try await client.say(text + ".").hasPrefix("250"))
            let kept = "To: dave@example.com\r\nDate: then\r\nFrom: a\r\nMessage-ID: <x@y>\r\n\r\nBcc: in the text\r\n"
            #expect(server.queue.messages.first?.text.hasSuffix("00\r\n" + kept) == true)
            #expect(server.queue.messages.first?.envelope["sender"] == "<alice@example.test> BODY=8BITMIME")
        }
    }

    @Test func strangersKeepTheirBlindCopies() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            #expect(try await client.say("Bcc: eve@example.org\r\n\r\ntext\r\n.").hasPrefix("250"))
            #expect(server.queue.messages.first?.text.contains("Bcc: eve") == true)
            #expect(server.queue.messages.first?.envelope["sender"] == "<carol@example.net>")
        }
    }

    @Test func reportOfUserIsFromUser() async throws {
        try await TestServer.run { server in
            let client = try await server.submittingClient()
            try await client.startMessage(from: "", to: "dave@example.com")
            #expect(try await client.say("Subject: read\r\n\r\ntext\r\n.").hasPrefix("250"))
            #expect(server.queue.messages.first?.text.contains("\r\nFrom: alice@example.test\r\n") == true)
        }
    }

    @Test(
        arguments: [
            ("DEFER", "4.7.1", "the limit of 2 messages an hour is reached", "450 4.7.1 the limit of 2"),
            ("REJECT", "5.5.3", "the limit is 10 recipients an hour", "550 5.5.3 the limit is 10"),
            ("DEFER", "4.3.0", "not now", "451 4.3.0 cannot count"),
        ]
    )
    func messagesOfUsersAreCounted(verb: String, status: String, text: String, reply: String) async throws {
        try await TestServer.run { server in
            server.answers.withLockedValue { answers in
                answers[""] = { frame in
                    guard frame.verb == "SEND" else { return TestServer.answer(frame) }
                    var reply = Frame(verb, ["status": status, "text": text])
                    reply["tag"] = frame["tag"]
                    return reply
                }
            }
            let client = try await server.submittingClient()
            for ending in ["DATA", "BDAT 2 LAST\r\n"] {
                #expect(try await client.say("MAIL FROM:<alice@example.test>").hasPrefix("250"))
                for name in ["x", "y"] {
                    #expect(try await client.say("RCPT TO:<\(name)@example.com>").hasPrefix("250"))
                }
                #expect(try await client.say(ending).hasPrefix(reply))
                #expect(try await client.say("RCPT TO:<x@example.com>").hasPrefix("503"))
            }
            let questions = server.questions.withLockedValue { $0.filter { $0.verb == "SEND" } }
            #expect(questions.map { $0["recipients"] } == ["2", "2"])
            #expect(server.queue.messages.isEmpty)
        }
    }

    /// The limits are there for what goes out.
    @Test func onlyMessagesThatAreTakenCount() async throws {
        try await TestServer.run({ $0.settings.enforcesSender = true }) { server in
            func counts() -> [String] {
                server.questions.withLockedValue { questions in
                    questions.filter { $0.verb == "SEND" }.map {
                        ($0["taken-back"] == "yes" ? "-" : "+") + ($0["recipients"] ?? "") + ($0["user"] ?? "")
                    }
                }
            }
            let alice = "alice@example.test"
            let client = try await server.submittingClient()
            func begin() async throws {
                #expect(try await client.say("MAIL FROM:<\(alice)>").hasPrefix("250"))
                for name in ["x", "y"] {
                    #expect(try await client.say("RCPT TO:<\(name)@example.com>").hasPrefix("250"))
                }
            }
            // Refused at its end, for its lines or its author.
            for message in ["Subject: x\r\n\r\na\nb\r\n.", "From: eve@example.net\r\n\r\nx\r\n."] {
                try await begin()
                #expect(try await client.command("DATA").code == .startMailInput)
                #expect(try await client.say(message).hasPrefix("55"))
            }
            try await server.until {
                counts() == Array(repeating: ["+2\(alice)", "-2\(alice)"], count: 2).flatMap { $0 }
            }
            // Given up in the middle, in either way.
            try await begin()
            #expect(try await client.chunk("xy").hasPrefix("250"))
            #expect(try await client.say("RSET").hasPrefix("250"))
            try await server.until { counts().count == 6 && counts().last == "-2\(alice)" }
            try await begin()
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.say("From: \(alice)\r\n\r\nx\r\n.").hasPrefix("250"))
            try await begin()
            #expect(try await client.command("DATA").code == .startMailInput)
            client.connection.close()
            try await server.until { counts().count == 9 }
            #expect(counts().suffix(3) == ["+2\(alice)", "+2\(alice)", "-2\(alice)"])
        }
    }
}
