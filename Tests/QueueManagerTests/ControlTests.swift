import Bus
import Foundation
import NIOCore
import Testing

@testable import QueueManager

@Suite struct ControlTests {
    /// A message that waits, and its ID.
    private func waiting(_ queue: TestQueue, _ deliverer: TestDeliverer) async throws -> String {
        let id = try #require(try await queue.submit(to: ["<bob@example.test>"])["id"])
        try await deliverer.next().answer(.defer, "4.2.0")
        _ = try await queue.list { $0.contains { $0["id"] == id && $0["state"] == "deferred" } }
        return id
    }

    @Test func flushTriesNow() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try await waiting(queue, deliverer)
        for fields in [[], [Frame.Field("id", id)], [.init("destination", "local")]] {
            #expect(try await queue.control("FLUSH", fields).last?.replyKind == .ok)
            let request = try await deliverer.next()
            #expect(request.frame["id"] == id)
            request.answer(.defer, "4.2.0")
            _ = try await queue.list { $0.first?["state"] == "deferred" }
        }
        #expect(try await queue.control("FLUSH", [.init("destination", "example.net")]).last?["count"] == "0")
        await queue.stop()
        await deliverer.stop()
    }

    @Test func heldMessageStaysUntilItsReleased() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try await waiting(queue, deliverer)
        let named = [Frame.Field("id", id)]
        #expect(try await queue.control("HOLD", named).last?.replyKind == .ok)
        #expect(try await queue.list().first?["state"] == "held")
        #expect(FileManager.default.fileExists(atPath: queue.path("spool/hold/\(id)")))
        await queue.advance(10_000_000)
        #expect(try await queue.control("FLUSH", []).last?["count"] == "0")
        await queue.stop()
        try await queue.start()
        #expect(try await queue.list { !$0.isEmpty }.first?["state"] == "held")
        #expect(try await queue.control("RELEASE", named).last?.replyKind == .ok)
        try await deliverer.next().answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }

    @Test func messageIsHeldAfterTheDeliveryThatIsGoingOn() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try #require(try await queue.submit(to: ["<bob@example.test>"])["id"])
        let request = try await deliverer.next()
        #expect(try await queue.control("HOLD", [.init("id", id)]).last?.replyKind == .ok)
        request.answer(.defer, "4.2.0")
        _ = try await queue.list { $0.first?["state"] == "held" }
        await queue.stop()
        await deliverer.stop()
    }

    @Test func removedMessageIsGone() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try await waiting(queue, deliverer)
        #expect(try await queue.control("REMOVE", [.init("id", id)]).last?.replyKind == .ok)
        #expect(try await queue.list().isEmpty)
        #expect(!FileManager.default.fileExists(atPath: queue.path("spool/queue/\(id.suffix(2))/\(id)")))
        #expect(try await queue.control("REMOVE", [.init("id", id)]).last?.replyKind == .reject)
        await queue.stop()
        await deliverer.stop()
    }

    @Test func returnedMessageIsReported() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try await waiting(queue, deliverer)
        let fields = [Frame.Field("id", id), .init("text", "not wanted")]
        #expect(try await queue.control("BOUNCE", fields).last?.replyKind == .ok)
        let report = try await deliverer.next()
        #expect(report.frame["recipient"] == "<alice@example.test> NOTIFY=NEVER")
        #expect(report.message.contains("not wanted"))
        report.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }

    @Test func requeuedMessageBeginsAnew() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try await waiting(queue, deliverer)
        #expect(try await queue.control("REQUEUE", [.init("id", id)]).last?.replyKind == .ok)
        let request = try await deliverer.next()
        #expect(request.frame["attempt"] == "1")
        request.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }

    @Test func showHasTheHeader() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try await waiting(queue, deliverer)
        let shown = try #require(try await queue.control("SHOW", [.init("id", id)]).last)
        #expect(shown.replyKind == .ok)
        #expect(shown["sender"] == "<alice@example.test>")
        #expect(shown.body.map { String(buffer: $0) } == "Subject: hello\r\n")
        #expect(
            try await queue.control("SHOW", [.init("id", String(repeating: "0", count: 24))]).last?.replyKind == .reject
        )
        #expect(try await queue.control("SHOW", [.init("id", "../../etc/passwd")]).last?.replyKind == .reject)
        #expect(try await queue.control("DANCE", [.init("id", id)]).last?["status"] == "5.5.1")
        await queue.stop()
        await deliverer.stop()
    }
}
