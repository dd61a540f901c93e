import Bus
import NIOConcurrencyHelpers
import NIOCore
import Network
import SMTP
import Testing

@testable import SMTPServer

@Suite struct MessageSessionTests {
    @Test func messageGoesToTheQueueInOnePiece() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            #expect(try await client.say("Subject: hi\r\n\r\n..dot\r\ntext\r\n.") == "250 2.0.0 queued as id1")
            let message = try #require(server.queue.messages.first)
            #expect(message.parts == 1)
            #expect(message.envelope["sender"] == "<carol@example.net>")
            #expect(message.envelope.all("recipient") == ["<bob@example.test>"])
            #expect(message.envelope["client"] == "127.0.0.1")
            #expect(message.envelope["helo"] == "client.example")
            #expect(message.envelope["protocol"] == "ESMTP")
            #expect(message.envelope["user"] == nil)
            #expect(
                message.text.hasPrefix(
                    "Received: from client.example ([127.0.0.1])\r\n\tby mail.example.test with ESMTP id id1\r\n"
                        + "\tfor <bob@example.test>;\r\n\t"
                )
            )
            #expect(message.text.hasSuffix("00\r\nSubject: hi\r\n\r\n.dot\r\ntext\r\n"))
            #expect(try await client.command("QUIT").code == .closing)
            #expect(await client.isClosed())
        }
    }

    @Test func everythingAtOnceIsAnsweredInOrder() async throws {
        try await TestServer.run({ $0.settings.mayPipelineEarly = true }) { server in
            let client = try await server.connect()
            let transaction =
                "MAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nA: b\r\n\r\nx\r\n.\r\n"
            try await client.send("EHLO a\r\n" + transaction + transaction + "NOOP\r\nQUIT\r\n")
            var codes: [UInt16] = []
            while let reply = try? await client.reply() { codes.append(reply.code.value) }
            #expect(codes == [220, 250, 250, 250, 354, 250, 250, 250, 354, 250, 250, 221])
            #expect(server.queue.messages.map(\.id) == ["id1", "id2"])
            #expect(server.queue.messages.first?.envelope["sender"] == "<> BODY=8BITMIME")
            #expect(server.queue.state.withLockedValue { $0.connections } == 1)
        }
    }

    @Test func octetByOctet() async throws {
        try await TestServer.run({ $0.settings.mayPipelineEarly = true }) { server in
            let client = try await server.greetedClient()
            let text =
                "MAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nA: b\r\n\r\n..\r\n.\r\nQUIT\r\n"
            for octet in text.utf8 {
                client.connection.write([octet])
                try await client.connection.flush()
                await Task.yield()
            }
            for code in [250, 250, 354, 250, 221] as [UInt16] {
                #expect(try await client.reply().code.value == code)
            }
            #expect(server.queue.messages.first?.text.hasSuffix("A: b\r\n\r\n.\r\n") == true)
        }
    }

    @Test(arguments: [FakeQueue.Behaviour.accept, .acceptSlowly])
    func largeMessageIsStreamed(behaviour: FakeQueue.Behaviour) async throws {
        try await TestServer.run { server in
            server.queue.set(behaviour)
            let client = try await server.greetedClient()
            try await client.startMessage()
            var body = "Subject: large\r\n\r\n"
            for number in 0..<60_000 {
                body += "\(number) " + String(repeating: "x", count: number % 90) + "\r\n.\(number)\r\n"
            }
            let message = body
            var encoder = DataEncoder()
            var input = ByteBuffer(string: message)
            while var part = input.readSlice(length: min(100_001, input.readableBytes)), part.readableBytes > 0 {
                var output = ByteBuffer()
                encoder.encode(&part, into: &output)
                client.connection.write(output)
                try await client.connection.flush()
            }
            var end = ByteBuffer()
            encoder.finish(into: &end)
            client.connection.write(end)
            try await client.connection.flush()
            #expect(try await client.reply().description == "250 2.0.0 queued as id1")
            let received = try #require(server.queue.messages.first)
            #expect(received.parts > 10)
            #expect(received.text.hasSuffix("00\r\n" + message))
        }
    }

    @Test(
        arguments: [
            "a\nb\r\n.\r\n", "a\rb\r\n.\r\n", "a\n.\nMAIL FROM:<evil@x>\r\n.\r\n", "a\r\n.\nRCPT TO:<evil@x>\r\n.\r\n",
            "a\r\n.\rDATA\r\n.\r\n", "\n.\r\n.\r\n",
        ]
    )
    func bareLineEndsAreRefusedAfterTheEnd(text: String) async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            try await client.send(text + "NOOP\r\n")
            #expect(try await client.reply().description.hasPrefix("554 5.6.0"))
            #expect(try await client.reply().description == "250 2.0.0 ok")
            #expect(server.queue.messages.isEmpty)
            try await client.startMessage()
            #expect(try await client.say("good\r\n.").hasPrefix("250"))
        }
    }

    /// Where others may see the end of a message that we don't see, or the other way round, nothing that follows is obeyed.
    @Test(arguments: ["a\r\r\n.\r\n", "a\r\n\r\r\n.\r\n", "\r\r\r\n.\r\n"])
    func doubtfulEndEndsTheSession(text: String) async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            try await client.send(text + "MAIL FROM:<evil@example.net>\r\n")
            #expect(try await client.reply().description.hasPrefix("554 5.6.0"))
            await #expect(throws: (any Error).self) { try await client.reply() }
            #expect(server.queue.messages.isEmpty)
        }
    }

    /// Text whose first line only looks like a field, and an mbox's own first line.
    @Test(arguments: [
        ("My address today: 192.0.2.44\r\nBye\r\n", "\r\nMy address"), ("Note to self: x\r\n", "\r\nNote to"),
        ("Subject : x\r\n\r\ny\r\n", "\tSubject"), ("Subject: x\r\n\r\ny\r\n", "\tSubject"),
        ("From alice@example.net Mon Nov 23 10:00:00 2026\r\nSubject: x\r\n\r\ny\r\n", "X-Mailbox-Line: From alice"),
        (">From alice Mon Nov 23 10:00:00 2026\r\nSubject: x\r\n\r\ny\r\n", "X-Mailbox-Line: >From alice"),
        ("From : a\r\n\r\ny\r\n", "\tFrom : a"),
    ])
    func whatIsNoFieldIsText(text: String, joint: String) async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            #expect(try await client.say(text + ".").hasPrefix("250"))
            let message = try #require(server.queue.messages.first)
            #expect(String(buffer: message.octets) == text)
            let start = joint.hasPrefix("\t") ? "\r\n" + joint.dropFirst() : joint
            let added = String(buffer: message.added)
            #expect(added.hasPrefix("Received: "))
            #expect(message.text.contains(start))
            #expect(added.hasSuffix("\r\n\r\n") == joint.hasPrefix("\r\n"))
        }
    }

    @Test func limitsOfTheMessage() async throws {
        try await TestServer.run({
            $0.settings.limits.message = 1000
            $0.settings.limits.hops = 2
            $0.settings.limits.textLine = 100
        }) { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            let lines = String(repeating: "123456789\r\n", count: 91)
            #expect(try await client.say(lines + ".") == "552 5.3.4 message too large")
            try await client.startMessage()
            // Our own trace field is the third.
            #expect(try await client.say("Received: a\r\nReceived: b\r\n\r\n.").hasPrefix("554 5.4.6"))
            try await client.startMessage()
            #expect(try await client.say(String(repeating: "x", count: 101) + "\r\n.").hasPrefix("554 5.6.0"))
            try await client.startMessage()
            #expect(try await client.say("Received: a\r\n\r\nReceived: b\r\n.").hasPrefix("250"))
            #expect(server.queue.messages.count == 1)
        }
    }

    @Test func whoSendsWithoutEndIsCutOff() async throws {
        try await TestServer.run({ $0.settings.limits.message = 1000 }) { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            let block = String(repeating: "123456789abcde\r\n", count: 4096)
            var isOver = false
            for _ in 0..<200 where !isOver {
                do { try await client.send(block) } catch { isOver = true }
                if client.connection.input.readableBytes > 0 { isOver = true }
            }
            #expect(isOver)
            #expect(server.queue.messages.isEmpty)
        }
    }

    @Test func hangingUpThrowsTheMessageAway() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            try await client.send(String(repeating: "0123456789\r\n", count: 20_000))
            client.connection.close()
            await server.queue.untilAborted()
            #expect(server.queue.messages.isEmpty)
        }
    }

    @Test func queueManagerDown() async throws {
        try await TestServer.run({ $0.hasQueue = false }) { server in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<>").hasPrefix("451 4.3.0"))
            try await server.startQueue()
            try await client.startMessage()
            #expect(try await client.say(".").hasPrefix("250"))
            await server.stopQueue()
            #expect(try await client.say("MAIL FROM:<>").hasPrefix("451 4.3.0"))
        }
    }

    @Test func queueManagerStartedAgainIsNoticed() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            #expect(try await client.say("x\r\n.").hasPrefix("250"))
            await server.stopQueue()
            try await server.startQueue()
            try await client.startMessage()
            #expect(try await client.say("x\r\n.").hasPrefix("250"))
            #expect(server.queue.messages.count == 2)
        }
    }

    @Test(
        arguments: [
            (FakeQueue.Behaviour.answer(.reply(.defer, status: "4.3.1", text: "disk full")), "452 4.3.1"),
            (.answer(.reply(.defer, status: "4.3.0")), "451 4.3.0"),
            (.answer(.reply(.reject, status: "5.2.3", text: "too large")), "552 5.3.4 too large"),
            (.answer(.reply(.reject, status: "5.4.6", text: "loop")), "554 5.4.6 loop"),
            (.answer(.reply(.reject, status: "nonsense", text: "no")), "554 5.6.0 no"),
            (.answer(Frame("WHAT")), "451 4.3.0"),
            (.answerAtData(.reply(.defer, status: "4.3.1", text: "disk full")), "45"),
            (.closeAtEnd, "451 4.3.0"),
            (.closeAtData, "451 4.3.0"),
        ]
    )
    func whatTheQueueSaysReachesTheClient(behaviour: FakeQueue.Behaviour, expected: String) async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            for size in [1, 40_000] {
                server.queue.set(behaviour)
                try await client.startMessage()
                try await client.send(String(repeating: "0123456789\r\n", count: size) + ".\r\n")
                #expect(try await client.reply().description.hasPrefix(expected))
                server.queue.set(.accept)
                try await client.startMessage()
                #expect(try await client.say("x\r\n.").hasPrefix("250"))
            }
        }
    }

    @Test func headerlessTextGetsAnEmptyLine() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.startMessage()
            _ = try await client.command("just text\r\n.")
            #expect(server.queue.messages.first?.text.hasSuffix("00\r\n\r\njust text\r\n") == true)
        }
    }
}
