import Bus
import Foundation
import NIOConcurrencyHelpers
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

    /// A message that is delivered at once never becomes a file; commands work on it all the same.
    @Test func messageWithoutAFileIsSeenAndHeld() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try #require(try await queue.submit(to: ["<bob@example.test>"])["id"])
        let file = queue.path("spool/queue/\(id.suffix(2))/\(id)")
        let named = [Frame.Field("id", id)]
        let request = try await deliverer.next()
        #expect(!FileManager.default.fileExists(atPath: file))
        #expect(try await queue.list().map { $0["recipient"] } == ["<bob@example.test>"])
        #expect(try await queue.control("SHOW", named).last?.body.map { String(buffer: $0) } == "Subject: hello\r\n")
        #expect(!FileManager.default.fileExists(atPath: file))
        #expect(try await queue.control("HOLD", named).last?["text"] != nil)
        request.answer(.defer, "4.2.0")
        _ = try await queue.list { $0.first?["state"] == "held" }
        #expect(FileManager.default.fileExists(atPath: queue.path("spool/hold/\(id)")))
        #expect(try await queue.control("REMOVE", named).last?.replyKind == .ok)
        await queue.stop()
        await deliverer.stop()
    }

    /// What is asked for during a delivery is done in order as soon as it's over.
    @Test(arguments: ["REMOVE", "BOUNCE", "REQUEUE"])
    func changesWaitForTheDeliveryThatGoesOn(verb: String) async throws {
        let queue = try TestQueue()
        let (deliverer, relay) = (try await queue.deliverer(), try await queue.relay())
        try await queue.start()
        let id = try #require(try await queue.submit(to: ["<bob@example.net>"])["id"])
        let named = [Frame.Field("id", id)]
        let request = try await relay.next()
        for change in ["HOLD", "RELEASE", verb] {
            #expect(
                try await queue.control(change, named).last?["text"]
                    == "as soon as the delivery that is going on is over"
            )
        }
        #expect(try await queue.list().map { $0["state"] } == ["active"])
        request.answer(.defer, "4.2.0")
        switch verb {
        case "REMOVE": break
        case "BOUNCE": try await deliverer.next().answer(.ok, "2.0.0")
        default:
            let again = try await relay.next()
            #expect(again.frame["attempt"] == "1")
            again.answer(.ok, "2.0.0")
        }
        _ = try await queue.list { $0.isEmpty }
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == (verb == "BOUNCE" ? "1" : "0"))
        await queue.stop()
        await deliverer.stop()
        await relay.stop()
    }

    @Test func deliveredMessageIsNeitherHeldNorReturned() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try #require(try await queue.submit(to: ["<bob@example.test>"])["id"])
        let request = try await deliverer.next()
        #expect(try await queue.control("BOUNCE", [.init("id", id)]).last?.replyKind == .ok)
        request.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "0")
        await queue.stop()
        await deliverer.stop()
    }

    /// What waits behind a destination that can't be reached says so, although nobody tried it.
    @Test func listSaysWhyMailWaitsBehindADestination() async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        try await queue.start()
        _ = try await queue.submit(to: ["<first@example.net>"])
        try await relay.next().answer(
            .defer,
            "4.4.1",
            [.init("scope", "destination"), .init("text", "connection refused")]
        )
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        for number in 1...20 { _ = try await queue.submit(to: ["<user\(number)@example.net>"]) }
        let messages = try await queue.list { $0.count == 21 }
        let next = try #require(messages.first?["next"].flatMap { Int64($0) })
        #expect(next > queue.now.withLockedValue { $0 } / 1000)
        for message in messages {
            #expect(message["reason"] == "4.4.1 connection refused")
            #expect(message["next"] == String(next))
        }
        await queue.stop()
        await relay.stop()
    }

    @Test func listIsByWhatIsAskedFor() async throws {
        let queue = try TestQueue()
        try await queue.start()
        let first = try await queue.submit(from: "<alice@example.test>", to: ["<bob@example.test>", "<x@Example.NET>"])
        let second = try await queue.submit(from: "<carol@example.test>", to: ["<bob@example.test>"])
        func list(_ name: String, _ value: String) async throws -> [String?] {
            try await queue.control("LIST", [.init(name, value)]).filter { $0.verb == "MESSAGE" }.map { $0["id"] }
        }
        #expect(try await list("sender", "alice@example.test") == [first["id"]])
        #expect(try await list("sender", "nobody@example.test").isEmpty)
        #expect(Set(try await list("recipient", "bob@example.test")) == [first["id"], second["id"]])
        #expect(try await list("recipient", "x@example.net") == [first["id"]])
        #expect(try await list("destination", "example.net") == [first["id"]])
        #expect(Set(try await list("destination", "local")) == [first["id"], second["id"]])
        #expect(try await list("state", "deferred").isEmpty)
        let statistics = try await queue.control("STATISTICS")
        #expect(statistics.last?["queued"] == "2")
        await queue.stop()
    }
}
