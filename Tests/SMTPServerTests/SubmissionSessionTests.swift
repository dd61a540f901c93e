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
}
