import Bus
import Daemon
import NIOCore
import Network
import Testing

@testable import QueueManager

@Suite struct IntakeTests {
    @Test func messageGoesToTheDelivererAndLeaves() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let reply = try await queue.submit(to: ["<bob@example.test> NOTIFY=NEVER"])
        #expect(reply.replyKind == .ok)
        let request = try await deliverer.next()
        #expect(request.frame.verb == "DELIVER")
        #expect(request.frame["id"] == reply["id"])
        #expect(request.frame["sender"] == "<alice@example.test>")
        #expect(request.frame.all("recipient") == ["<bob@example.test> NOTIFY=NEVER"])
        #expect(request.frame["attempt"] == "1")
        #expect(request.frame["retry"] == nil)
        #expect(request.message == "Subject: hello\r\n\r\nHello.\r\n")
        #expect(try await queue.list().map { $0["state"] } == ["active"])
        request.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }

    @Test(arguments: [10, 100_000])
    func messageThatComesHeldIsNotTried(octets: Int) async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        var frames = [Frame("SUBMIT", ["sender": "<>", "recipient": "<bob@example.test>", "protocol": "ESMTP"])]
        frames.append(Frame("DATA", [], body: ByteBuffer(string: String(repeating: "x", count: octets))))
        frames.append(Frame("END", ["hold": "yes"]))
        let reply = try await queue.exchange(frames)
        #expect(reply.replyKind == .ok)
        // The reply comes once it's put aside.
        #expect(try await queue.list().map { $0["state"] } == ["held"])
        #expect(try await queue.submit(to: ["<carol@example.test>"]).replyKind == .ok)
        let request = try await deliverer.next()
        #expect(request.frame.all("recipient") == ["<carol@example.test>"])
        request.answer(.ok, "2.0.0")
        await queue.stop()
        await deliverer.stop()
    }

    @Test func largeMessageInParts() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let part = String(repeating: "x", count: 60_000) + "\r\n"
        var frames = [Frame("SUBMIT", ["sender": "<>", "recipient": "<bob@example.test>", "protocol": "ESMTP"])]
        for _ in 0..<20 { frames.append(Frame("DATA", [], body: ByteBuffer(string: part))) }
        frames.append(Frame("END"))
        #expect(try await queue.exchange(frames).replyKind == .ok)
        let request = try await deliverer.next()
        #expect(request.message.isEmpty)
        let octets = try #require(request.frame.integer("octets"))
        #expect(octets == 20 * part.utf8.count)
        // Pieces come in the order they were asked for.
        let offsets = Array(stride(from: 0, to: octets, by: 65536))
        for offset in offsets { request.read(offset, min(65536, octets - offset)) }
        var text = ""
        for offset in offsets {
            let piece = try await deliverer.next()
            #expect(piece.frame.replyKind == .ok)
            #expect(piece.frame.integer("offset") == offset)
            text += piece.message
        }
        #expect(text == String(repeating: part, count: 20))
        request.read(octets - 1, 2)
        #expect(try await deliverer.next().frame.replyKind == .reject)
        await queue.stop()
        await deliverer.stop()
    }

    @Test func abortedMessageLeavesNothing() async throws {
        let queue = try TestQueue()
        try await queue.start()
        let id = try await queue.talk("queue.sock") { connection in
            var parser = FrameParser()
            _ = try await connection.readFrame(&parser)
            connection.write(Frame("SUBMIT", ["sender": "<>", "recipient": "<a@example.test>"]))
            connection.write(Frame("DATA", [], body: ByteBuffer(string: "x")))
            connection.write(Frame("ABORT"))
            connection.write(
                Frame("SUBMIT", ["sender": "<>", "recipient": "<b@example.test>"], body: ByteBuffer(string: "y"))
            )
            connection.write(Frame("END"))
            try await connection.flush()
            return try await connection.readFrame(&parser)?["id"]
        }
        #expect(try await queue.list { !$0.isEmpty }.map { $0["id"] } == [id])
        await queue.stop()
    }

    @Test(arguments: [
        ("bob", ["<bob@example.test>"], "5.5.4"), ("<>", ["bob@example.test"], "5.5.4"), ("<>", [], "5.5.4"),
        ("<>", ["<bob@example.test> FOO=BAR"], "5.5.4"),
    ])
    func malformedEnvelopeIsRefused(sender: String, recipients: [String], status: String) async throws {
        let queue = try TestQueue()
        try await queue.start()
        let reply = try await queue.submit(from: sender, to: recipients)
        #expect(reply.replyKind == .reject)
        #expect(reply["status"] == status)
        await queue.stop()
    }

    @Test func loopIsRefused() async throws {
        let queue = try TestQueue()
        try await queue.start { $0.maximumHops = 3 }
        let trace = "Received: from x\r\n\tby y\r\n"
        let good = try await queue.submit(
            to: ["<b@example.test>"],
            String(repeating: trace, count: 3) + "\r\nReceived: x\r\n"
        )
        #expect(good.replyKind == .ok)
        let bad = try await queue.submit(to: ["<b@example.test>"], String(repeating: trace, count: 4) + "\r\n")
        #expect(bad["status"] == "5.4.6")
        await queue.stop()
    }

    @Test func limitOfHopsIsThatOfSMTPD() throws {
        for (text, limit) in [("", 100), ("[smtpd]\nmaximum-hops = 200\n", 200)] {
            let configuration = try Configuration(text: "hostname = \"mx.example.test\"\n" + text, file: "martlet.toml")
            #expect(QueueSettings(configuration).maximumHops == limit)
        }
    }

    /// The block that is kept apart from the message has trace fields, too: smtpd's, and ours for local programs.
    @Test(arguments: [0, 100_000]) func addedTraceFieldsCountAsHops(padding: Int) async throws {
        let queue = try TestQueue()
        try await queue.start { $0.maximumHops = 3 }
        let trace = "Received: from x\r\n\tby y\r\n"
        let body = "\r\n" + String(repeating: "Received: x\r\n", count: padding / 13)
        let recipients = ["<b@example.test>"]
        for (count, isAccepted) in [(2, true), (3, false)] {
            let message = String(repeating: trace, count: count) + body
            let local = try await queue.submit(to: recipients, message, fields: [])
            #expect((local.replyKind == .ok) == isAccepted)
            let fields: [Frame.Field] = [
                .init("sender", "<a@example.test>"), .init("recipient", recipients[0]), .init("protocol", "ESMTP"),
            ]
            let reply = try await queue.exchange([
                Frame("SUBMIT", fields, body: ByteBuffer(string: message)),
                Frame("END", [Frame.Field](), body: ByteBuffer(string: trace)),
            ])
            #expect(reply["status"] == (isAccepted ? "2.0.0" : "5.4.6"))
        }
        await queue.stop()
    }

    @Test func sameOriginIsTheSameMessage() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let origin = [Frame.Field("origin", "forward-1")]
        let first = try await queue.submit(to: ["<bob@example.test>"], fields: origin)
        let second = try await queue.submit(to: ["<bob@example.test>"], fields: origin)
        #expect(first["id"] == second["id"])
        try await deliverer.next().answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        #expect(try await queue.submit(to: ["<bob@example.test>"], fields: origin)["id"] == first["id"])
        #expect(try await queue.list().isEmpty)
        await queue.stop()
        await deliverer.stop()
    }

    @Test func localProgramGetsATraceField() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        _ = try await queue.submit(to: ["<bob@example.test>"], fields: [])
        let text = try await deliverer.next().message
        #expect(text.hasPrefix("Received: by mail.example.test (Martlet, from uid "))
        await queue.stop()
        await deliverer.stop()
    }
}
