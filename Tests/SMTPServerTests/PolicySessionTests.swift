import Bus
import MailRules
import NIOConcurrencyHelpers
import NIOCore
import SMTP
import Testing

@testable import SMTPServer

@Suite struct PolicySessionTests {
    /// Answers GREYLIST with what comes next, the last one for ever, and all else as always.
    private func greylist(_ server: TestServer, _ answers: [[Frame.Field]?]) {
        let rest = NIOLockedValueBox(answers[...])
        server.answers.withLockedValue { known in
            known[""] = { frame in
                guard frame.verb == "GREYLIST", frame["accepted"] == nil else { return TestServer.answer(frame) }
                let fields = rest.withLockedValue { $0.count > 1 ? $0.removeFirst() : $0.first ?? nil }
                guard let fields else { return .reply(.defer, status: "4.3.0", text: "not now", tag: frame["tag"]) }
                return .ok(tag: frame["tag"], fields)
            }
        }
    }

    private static let wait: [Frame.Field] = [.init("wait", "300")]
    private static let pass: [Frame.Field] = [.init("by", "triplet")]

    @Test func whoIsNewHasToComeBack() async throws {
        let table = try PolicyParser.table("greylist")
        try await TestServer.run({ $0.settings.policy = table }) { server in
            greylist(server, [Self.wait, Self.pass])
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            let reply = try await client.say("RCPT TO:<bob@example.test>")
            #expect(reply == "450 4.7.1 greylisted, try again in 300 seconds")
            #expect(try await client.say("RCPT TO:<bob@example.test>") == "250 2.1.5 ok")
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.say("Subject: x\r\n\r\ntext\r\n.").hasPrefix("250"))
            let questions = server.questions.withLockedValue { $0.filter { $0.verb == "GREYLIST" } }
            // Once for each RCPT, and not again at the end.
            #expect(questions.count == 2)
            #expect(questions.first?["client"] == "127.0.0.1" && questions.first?["sender"] == "carol@example.net")
        }
    }

    @Test func greylistingThatNeedsTheMessageWaitsForIt() async throws {
        let table = try PolicyParser.table("greylist if size > 5")
        try await TestServer.run({
            $0.settings.policy = table
        }) { server in
            greylist(server, [Self.pass, Self.wait])
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            for name in ["bob", "dave"] {
                #expect(try await client.say("RCPT TO:<\(name)@example.test>").hasPrefix("250"))
            }
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.say("Subject: x\r\n\r\ntext\r\n.").hasPrefix("450 4.7.1 greylisted"))
            #expect(server.queue.messages.isEmpty)
        }
    }

    @Test(arguments: [(GreylistDirectory.Fallback.pass, "250 2.1.5"), (.wait, "450 4.7.1 greylisted")])
    func withoutAuthdItIsAsConfigured(fallback: GreylistDirectory.Fallback, reply: String) async throws {
        let table = try PolicyParser.table("greylist")
        try await TestServer.run({
            $0.settings.policy = table
            $0.settings.greylistFallback = fallback
            $0.settings.greylistSilence = .hours(1)
        }) { server in
            greylist(server, [nil])
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            // Not asked again at once: who sends to a thousand would wait a thousand times.
            for name in ["bob", "dave", "erin"] {
                #expect(try await client.say("RCPT TO:<\(name)@example.test>").hasPrefix(reply))
            }
            #expect(server.questions.withLockedValue { $0.count { $0.verb == "GREYLIST" } } == 1)
        }
    }

    /// authd refuses a question that it doesn't take; that says nothing of the next.
    @Test func aRefusedQuestionSilencesNobody() async throws {
        let table = try PolicyParser.table("greylist")
        try await TestServer.run({
            $0.settings.policy = table
            $0.settings.greylistSilence = .hours(1)
        }) { server in
            server.answers.withLockedValue { known in
                known[""] = { frame in
                    guard frame.verb == "GREYLIST" else { return TestServer.answer(frame) }
                    guard frame["recipient"] == "dave@example.test" else { return .ok(tag: frame["tag"], Self.wait) }
                    return .reply(.reject, status: "5.1.7", text: "not so", tag: frame["tag"])
                }
            }
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<dave@example.test>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("450 4.7.1 greylisted"))
        }
    }

    /// Without an address there is nobody to ask about, and the table goes on.
    @Test func rulesAboutClientsGoOnAtUnixSockets() async throws {
        let table = try PolicyParser.table(
            """
            greylist
            junk if score >= 3
            reject if client-name *
            accept if not iprev fail temperror and sender carol@example.net
            reject 5.7.9 "the end of the table"
            """
        )
        try await TestServer.run({ $0.settings.policy = table }) { server in
            let client = try await server.connectLocally()
            #expect(try await client.reply().code == .ready)
            #expect(try await client.command("LHLO client.example").code == .ok)
            for (sender, reply) in [("carol", "250"), ("dave", "550 5.7.9 the end of the table")] {
                #expect(try await client.say("MAIL FROM:<\(sender)@example.net>").hasPrefix("250"))
                #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix(reply))
                #expect(try await client.say("RSET").hasPrefix("250"))
            }
            #expect(server.questions.withLockedValue { !$0.contains { $0.verb == "GREYLIST" } })
        }
    }

    @Test func heldMailIsHandedOverAsHeld() async throws {
        let table = try PolicyParser.table("hold if header Subject *odd*")
        try await TestServer.run({
            $0.settings.policy = table
        }) { server in
            let client = try await server.greetedClient()
            for subject in ["an ODD one", "another"] {
                try await client.startMessage()
                #expect(try await client.say("Subject: \(subject)\r\n\r\ntext\r\n.").hasPrefix("250"))
            }
            #expect(server.queue.messages.map(\.isHeld) == [true, false])
        }
    }

    /// Rules may give a message a route. Recipients of another one come apart from the first.
    @Test func recipientsOfAnotherRouteComeApart() async throws {
        let policy = try PolicyParser.table("route spare if recipient bob@example.test\nroute late if size > 0")
        try await TestServer.run({ $0.settings.policy = policy }) { server in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<alice@example.test>").hasPrefix("452 4.5.3 send to this"))
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
            #expect(try await client.say("DATA").hasPrefix("354"))
            #expect(try await client.say("Subject: x\r\n\r\nx\r\n.").hasPrefix("250"))
            #expect(server.queue.messages.map(\.route) == ["spare"])
        }
    }

    @Test(
        arguments: [
            ("Subject: =?utf-8?b?TG90dGVyeQ==?=\r\n\r\nx", "550"), ("Subject: a\r\n lottery\r\n\r\nx", "550"),
            ("Subject: x\r\n\r\nLottery", "250"), ("Subject: x\r\n\r\nbuy now", "550"),
            ("X: buy now\r\n\r\nx", "250"), ("Subject: x\r\n\r\n0123456789012345buy now", "250"),
        ]
    )
    func contentDecides(text: String, code: String) async throws {
        let rules = "reject if header Subject *lottery*\nreject if body \"BUY NOW\""
        let table = try PolicyParser.table(rules)
        try await TestServer.run({
            $0.settings.policy = table
            $0.settings.policyBody = 16
        }) { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            #expect(try await client.say(text + "\r\n.").hasPrefix(code))
            // In chunks it's the same.
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
            for octet in text.utf8 {
                try await client.send("BDAT 1\r\n" + String(decoding: [octet], as: UTF8.self))
                #expect(try await client.reply().code == .ok)
            }
            #expect(try await client.say("BDAT 2 LAST\r\n").hasPrefix(code))
        }
    }

    @Test func repliesInTheTarpitComeLater() async throws {
        let table = try PolicyParser.table("tarpit 1 if recipient bob@example.test")
        try await TestServer.run({
            $0.settings.policy = table
        }) { server in
            let client = try await server.greetedClient()
            // From before it's sent: the first replies may be read late.
            let start = ContinuousClock.now
            try await client.send(
                "MAIL FROM:<carol@example.net>\r\nRCPT TO:<dave@example.test>\r\nRCPT TO:<bob@example.test>\r\n"
            )
            for _ in 1...3 { #expect(try await client.reply().code == .ok) }
            #expect(ContinuousClock.now - start > .milliseconds(900))
        }
    }
}
