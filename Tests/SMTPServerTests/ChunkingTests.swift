import Bus
import NIOCore
import Network
import SMTP
import Testing

@testable import SMTPServer

extension TestClient {
    /// The reply to a chunk, in one line.
    func chunk(_ octets: String, isLast: Bool = false) async throws -> String {
        try await send("BDAT \(octets.utf8.count)\(isLast ? " LAST" : "")\r\n\(octets)")
        return try await reply().description
    }
}

/// RFC 3030.
@Suite struct ChunkingTests {
    private func begin(_ client: TestClient, _ parameters: String = "") async throws {
        #expect(try await client.say("MAIL FROM:<carol@example.net>\(parameters)").hasPrefix("250"))
        #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
    }

    @Test func chunksMakeOneMessage() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await begin(client)
            // A dot is nothing special here, and a chunk may end anywhere.
            #expect(try await client.chunk("Subject: chunks\r\n\r\n.") == "250 2.0.0 20 octets")
            #expect(try await client.chunk("\r") == "250 2.0.0 1 octets")
            #expect(try await client.chunk("") == "250 2.0.0 0 octets")
            #expect(try await client.chunk("\nend", isLast: true).hasPrefix("250 2.0.0 queued as id"))
            #expect(server.queue.messages.map { String(buffer: $0.octets) } == ["Subject: chunks\r\n\r\n.\r\nend"])
        }
    }

    @Test func lastChunkMayBeEmpty() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            for _ in 1...2 {
                try await begin(client)
                try await client.send("BDAT 9\r\na: b\r\n\r\nx")
                #expect(try await client.reply().description == "250 2.0.0 9 octets")
                #expect(try await client.say("BDAT 0 LAST").hasPrefix("250 2.0.0 queued as id"))
            }
            #expect(server.queue.messages.map { String(buffer: $0.octets) } == ["a: b\r\n\r\nx", "a: b\r\n\r\nx"])
            #expect(server.queue.messages[0].text.contains("with ESMTP id "))
        }
    }

    @Test func everythingMayComeAtOnce() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.send(
                "MAIL FROM:<carol@example.net>\r\nRCPT TO:<bob@example.test>\r\nBDAT 6\r\na: b\r\nBDAT 3 LAST\r\n\r\nx"
                    + "MAIL FROM:<carol@example.net>\r\nQUIT\r\n"
            )
            var replies: [UInt16] = []
            for _ in 1...6 { replies.append(try await client.reply().code.value) }
            #expect(replies == [250, 250, 250, 250, 250, 221])
            #expect(server.queue.messages.map { String(buffer: $0.octets) } == ["a: b\r\n\r\nx"])
        }
    }

    @Test func octetsMayDripIn() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            for octet in "MAIL FROM:<carol@example.net>\r\nRCPT TO:<bob@example.test>\r\nBDAT 9 LAST\r\na: b\r\n\r\nx" {
                try await client.send(String(octet))
                try await server.loop.scheduleTask(in: .microseconds(300)) {}.futureResult.get()
            }
            for _ in 1...3 { #expect(try await client.reply().code == .ok) }
            #expect(server.queue.messages.map { String(buffer: $0.octets) } == ["a: b\r\n\r\nx"])
        }
    }

    /// The chunk is read, whatever the reply: it's never taken for commands.
    @Test func refusedChunksAreThrownAway() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            #expect(try await client.chunk("QUIT\r\n") == "503 5.5.1 send MAIL first")
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<nobody@example.test>").hasPrefix("550"))
            #expect(try await client.chunk("QUIT\r\n", isLast: true) == "554 5.5.1 no valid recipients")
            #expect(try await client.say("NOOP") == "250 2.0.0 ok")
            #expect(server.queue.messages.isEmpty)
        }
    }

    @Test func othersCommandsWithinAreOutOfPlace() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await begin(client)
            #expect(try await client.chunk("a: b\r\n").hasPrefix("250"))
            #expect(try await client.say("DATA") == "503 5.5.1 go on with BDAT")
            #expect(try await client.say("RCPT TO:<bob@example.test>") == "503 5.5.1 the message has begun")
            #expect(try await client.say("MAIL FROM:<carol@example.net>") == "503 5.5.1 nested MAIL")
            #expect(try await client.say("RSET") == "250 2.0.0 ok")
            #expect(try await client.chunk("\r\nx", isLast: true) == "503 5.5.1 send MAIL first")
            try await begin(client)
            #expect(try await client.chunk("c: d\r\n\r\ny", isLast: true).hasPrefix("250 2.0.0 queued"))
            #expect(server.queue.messages.map { String(buffer: $0.octets) } == ["c: d\r\n\r\ny"])
        }
    }

    @Test func aLostClientLeavesNothing() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await begin(client)
            try await client.send("BDAT 200000\r\na: b\r\n\r\n" + String(repeating: "x", count: 150_000))
            client.connection.abort()
            await server.queue.untilAborted()
            #expect(server.queue.messages.isEmpty)
        }
    }

    @Test func tooLargeIsRefusedOnce() async throws {
        try await TestServer.run {
            $0.settings.limits.message = 1000
        } _: { server in
            let client = try await server.greetedClient()
            try await begin(client)
            let chunk = String(repeating: "x", count: 600)
            #expect(try await client.chunk(chunk).hasPrefix("250"))
            #expect(try await client.chunk(chunk) == "552 5.3.4 message too large")
            #expect(try await client.chunk(chunk, isLast: true) == "503 5.5.1 send MAIL first")
            #expect(try await client.say("BDAT 99999999") == "552 5.3.4 message too large")
            #expect(await client.isClosed())
            #expect(server.queue.messages.isEmpty)
        }
    }

    @Test(arguments: ["a: b\r\n\r\nx\ny", "a: b\r\n\r\nx\ry", "a: b\r\n\r\nxy\r"])
    func bareLineEndsAreForBinaryMailAlone(text: String) async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await begin(client)
            #expect(try await client.chunk(text, isLast: true).hasPrefix("554 5.6.0"))
            try await begin(client, " BODY=BINARYMIME")
            #expect(try await client.chunk(text, isLast: true).hasPrefix("250"))
            #expect(server.queue.messages.map { String(buffer: $0.octets) } == [text])
            #expect(server.queue.messages[0].envelope["sender"] == "<carol@example.net> BODY=BINARYMIME")
        }
    }

    @Test(arguments: ["a: b\rc: d\r\n\r\nx", "a: b\nc: d\r\n\r\nx", "a: b\r"])
    func headersOfBinaryMailAreLines(text: String) async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await begin(client, " BODY=BINARYMIME")
            #expect(try await client.chunk(text, isLast: true).hasPrefix("554 5.6.0"))
        }
    }

    @Test func binaryMailNeedsChunks() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await begin(client, " BODY=BINARYMIME")
            #expect(try await client.say("DATA") == "503 5.5.1 go on with BDAT")
        }
    }

    @Test func withoutTheQueueMailWaits() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await begin(client)
            await server.stopQueue()
            #expect(try await client.chunk("QUIT\r\n", isLast: true).hasPrefix("451 4.3.0"))
            #expect(try await client.say("NOOP") == "250 2.0.0 ok")
        }
    }
}
