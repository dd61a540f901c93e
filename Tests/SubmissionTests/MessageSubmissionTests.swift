import Bus
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import SMTP
import Testing

@testable import Submission

@Suite struct MessageSubmissionTests {
    private func submit(
        _ queue: FakeQueueManager,
        _ client: SubmissionClient,
        _ pieces: [String],
        added: String = "Received: x\r\n"
    ) async throws -> SubmissionResult {
        let message = try await client.begin(FakeQueueManager.envelope)
        for piece in pieces { await message.append(ByteBuffer(string: piece)) }
        return await message.finish(added: ByteBuffer(string: added))
    }

    @Test func smallMessageGoesWithItsEnvelope() async throws {
        try await FakeQueueManager.run { queue in
            let client = SubmissionClient(path: queue.path, on: queue.loop)
            let first = try await submit(queue, client, ["A: b\r\n", "\r\n", "text\r\n"])
            let second = try await submit(queue, client, [], added: "")
            #expect([first, second] == [.accepted(id: "kept"), .accepted(id: "kept")])
            let messages = queue.messages.withLockedValue { $0 }
            #expect(messages.map(\.verbs) == [["SUBMIT", "END"], ["SUBMIT", "END"]])
            #expect(messages.map(\.text) == ["Received: x\r\nA: b\r\n\r\ntext\r\n", ""])
            #expect(messages.map(\.sender) == ["<>", "<>"])
            #expect(queue.connections.withLockedValue { $0 } == 1)
        }
    }

    @Test(arguments: [1, 700, 20_000, 300_000]) func largeMessageGoesInPieces(_ size: Int) async throws {
        try await FakeQueueManager.run { queue in
            let client = SubmissionClient(path: queue.path, on: queue.loop)
            let text = (0..<30_000).map { "line \($0)\r\n" }.joined()
            var input = ByteBuffer(string: size == 1 ? String(text.prefix(3000)) : text)
            let whole = String(buffer: input)
            let message = try await client.begin(FakeQueueManager.envelope)
            while let piece = input.readSlice(length: min(size, input.readableBytes)), piece.readableBytes > 0 {
                await message.append(piece)
            }
            #expect(await message.finish(added: ByteBuffer(string: "A: b\r\n")) == .accepted(id: "kept"))
            #expect(queue.messages.withLockedValue { $0.first?.text } == "A: b\r\n" + whole)
        }
    }

    @Test func idIsKnownBeforeAndConnectionsAreKept() async throws {
        try await FakeQueueManager.run { queue in
            let client = SubmissionClient(path: queue.path, on: queue.loop)
            try await client.prepare()
            let first = try await client.begin(FakeQueueManager.envelope)
            let second = try await client.begin(FakeQueueManager.envelope)
            #expect([first.id, second.id] == ["id1", "id2"])
            _ = await first.finish(added: ByteBuffer())
            // Of the second queue-manager has heard nothing: its connection is as new.
            second.abort()
            second.abort()
            #expect(try await client.begin(FakeQueueManager.envelope).id == "id2")
            #expect(try await client.begin(FakeQueueManager.envelope).id == "next1")
            #expect(queue.connections.withLockedValue { $0 } == 2)
        }
    }

    @Test func messageThatWasBegunIsThrownAwayByItsConnectionsEnd() async throws {
        try await FakeQueueManager.run { queue in
            let client = SubmissionClient(path: queue.path, on: queue.loop)
            let message = try await client.begin(FakeQueueManager.envelope)
            await message.append(ByteBuffer(repeating: 0x61, count: 100_000))
            message.abort()
            #expect(await message.finish(added: ByteBuffer()) != .accepted(id: "kept"))
            #expect(try await submit(queue, client, ["x\r\n"]) == .accepted(id: "kept"))
            #expect(queue.messages.withLockedValue { $0.count } == 1)
        }
    }

    @Test(
        arguments: [
            (Frame.reply(.defer, status: "4.3.1", text: "full"), SubmissionResult.deferred(.systemFull, "full")),
            (.reply(.defer, status: "5.3.1", text: "odd"), .deferred(.systemTrouble, "odd")),
            (.reply(.reject, status: "5.4.6", text: "loop"), .refused(.routingLoop, "loop")),
            (.reply(.reject, status: "x"), .refused(.badMessage, "")),
            (Frame("WHAT"), .deferred(.systemTrouble, "unexpected reply WHAT")),
        ]
    )
    func whatQueueManagerSaysIsTheResult(answer: Frame, expected: SubmissionResult) async throws {
        try await FakeQueueManager.run { queue in
            let client = SubmissionClient(path: queue.path, on: queue.loop)
            for behaviour in [FakeQueueManager.Behaviour.answer(answer), .answerEarly(answer)] {
                queue.set(behaviour)
                let result = try await submit(queue, client, ["x\r\n"])
                #expect(result == expected)
            }
        }
    }

    /// A disk that is full is said in the middle, and nobody sends the rest.
    @Test func earlyReplyEndsTheSending() async throws {
        try await FakeQueueManager.run { queue in
            queue.set(.answerEarly(.reply(.defer, status: "4.3.1", text: "full")))
            let client = SubmissionClient(path: queue.path, on: queue.loop)
            let message = try await client.begin(FakeQueueManager.envelope)
            let piece = ByteBuffer(repeating: 0x61, count: 64 * 1024)
            var count = 0
            while message.earlyResult == nil, count < 10_000 {
                await message.append(piece)
                await Task.yield()
                count += 1
            }
            #expect(count < 10_000)
            #expect(await message.finish(added: ByteBuffer()) == .deferred(.systemFull, "full"))
        }
    }

    @Test(arguments: ["SUBMIT", "DATA", "END"]) func lostConnectionIsADelay(_ verb: String) async throws {
        try await FakeQueueManager.run { queue in
            queue.set(.closeAt(verb))
            let client = SubmissionClient(path: queue.path, on: queue.loop)
            let pieces = [String](repeating: String(repeating: "x", count: 50_000), count: 8)
            let result = try await submit(queue, client, pieces)
            guard case .deferred(.systemTrouble, let text) = result else {
                Issue.record("\(result)")
                return
            }
            #expect(!text.isEmpty)
        }
    }

    @Test func nonsenseIsADelay() async throws {
        try await FakeQueueManager.run { queue in
            queue.set(.talkNonsense("ok then\n\n"))
            let client = SubmissionClient(path: queue.path, on: queue.loop)
            guard case .deferred(.systemTrouble, _) = try await submit(queue, client, ["x"]) else {
                Issue.record("not a delay")
                return
            }
        }
    }

    @Test func nobodyListens() async throws {
        try await FakeQueueManager.run { queue in
            let client = SubmissionClient(path: queue.path + ".not", on: queue.loop)
            await #expect(throws: SubmissionError.self) { try await client.prepare() }
        }
    }

    /// The blocking client says the same on the wire.
    @Test(arguments: [10, 40_000]) func commandsBlock(_ lines: Int) async throws {
        try await FakeQueueManager.run { queue in
            let text = String(repeating: "0123456789\r\n", count: lines)
            let path = queue.path
            let result = try await blocking {
                var message = try BlockingSubmission(FakeQueueManager.envelope, path: path)
                #expect(message.id == "id1")
                for _ in 0..<2 { message.append(text.utf8) }
                return message.finish(added: ByteBuffer(string: "A: b\r\n"))
            }
            #expect(result == .accepted(id: "kept"))
            #expect(queue.messages.withLockedValue { $0.first?.text } == "A: b\r\n" + text + text)
        }
    }

    @Test func commandsHearWhyBeforeTheEnd() async throws {
        try await FakeQueueManager.run { queue in
            let path = queue.path
            let submit: @Sendable () throws -> SubmissionResult = {
                var message = try BlockingSubmission(FakeQueueManager.envelope, path: path)
                for _ in 0..<100 { message.append([UInt8](repeating: 0x61, count: 50_000)) }
                return message.finish(added: ByteBuffer())
            }
            queue.set(.answerEarly(.reply(.reject, status: "5.4.6", text: "loop")))
            #expect(try await blocking(submit) == .refused(.routingLoop, "loop"))
            queue.set(.closeAt("DATA"))
            guard case .deferred(.systemTrouble, _) = try await blocking(submit) else {
                Issue.record("not a delay")
                return
            }
        }
        #expect(throws: SubmissionError.self) {
            _ = try BlockingSubmission(FakeQueueManager.envelope, path: "/nowhere")
        }
        let long = "/" + String(repeating: "x", count: 300)
        #expect(throws: SubmissionError.self) { _ = try BlockingSubmission(FakeQueueManager.envelope, path: long) }
    }

    private func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await NIOThreadPool.singleton.runIfActive(body)
    }
}
