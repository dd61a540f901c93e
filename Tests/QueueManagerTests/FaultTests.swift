import Bus
import Foundation
import NIOCore
import SMTP
import Spool
import Testing

@testable import QueueManager

@Suite struct FaultTests {
    /// The domain is what RFC 5321 says it is, whatever the quoted local part looks like.
    @Test func quotedLocalPartChoosesNoDestination() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let recipient = #"<"bob+x@[127.0.0.1]> y"@Example.Test>"#
        let id = try #require(try await queue.submit(to: [recipient])["id"])
        let request = try await deliverer.next()
        #expect(request.frame["id"] == id)
        #expect(request.frame["recipient"] == recipient)
        #expect(request.frame["destination"] == nil)
        request.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }

    /// IDs have a time in them, and clocks are set back.
    @Test func messageOfTheFutureIsTried() async throws {
        let queue = try TestQueue()
        try await queue.start()
        await queue.stop()
        let id = MessageID(time: (1 << 55), random: 1)
        let envelope = MessageEnvelope(
            id: id,
            arrived: 1_795_447_200,
            sender: try EnvelopeSender(parsing: "<alice@example.test>".utf8),
            recipients: [try EnvelopeRecipient(parsing: "<bob@example.test>".utf8)]
        )
        let file = QueueFile.encode(envelope, message: ByteBuffer(string: "Subject: hello\r\n\r\n")).file
        let directory = queue.path("spool/queue/\(id.path.prefix(2))")
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try Data(file.readableBytesView).write(to: URL(fileURLWithPath: queue.path("spool/queue/\(id.path)")))
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let request = try await deliverer.next()
        #expect(request.frame["id"] == id.description)
        request.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }

    @Test func fileThatWasPutAsideByHandIsHeldAndNotForgotten() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try #require(try await queue.submit(to: ["<bob@example.test>"])["id"])
        try await deliverer.next().answer(.defer, "4.2.0")
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        try await queue.waitForFile("spool/queue/\(id.suffix(2))/\(id)")
        let file = queue.path("spool/queue/\(id.suffix(2))/\(id)")
        try FileManager.default.moveItem(atPath: file, toPath: queue.path("spool/hold/\(id)"))
        #expect(try await queue.control("FLUSH", [.init("id", id)]).last?.replyKind == .ok)
        _ = try await queue.list { $0.first?["state"] == "held" }
        #expect(try await queue.control("RELEASE", [.init("id", id)]).last?.replyKind == .ok)
        try await deliverer.next().answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }

    /// Only where a file is in neither place is its message gone: that the other place can't be read says nothing.
    @Test func messageIsKeptWhileTheOtherPlaceCannotBeRead() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        let id = try #require(try await queue.submit(to: ["<bob@example.test>"])["id"])
        try await deliverer.next().answer(.defer, "4.2.0")
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        try await queue.waitForFile("spool/queue/\(id.suffix(2))/\(id)")
        let (file, saved) = (queue.path("spool/queue/\(id.suffix(2))/\(id)"), queue.path("saved"))
        try FileManager.default.moveItem(atPath: file, toPath: saved)
        // A directory can be opened, but not read.
        let unreadable = queue.path("spool/hold/\(id)")
        try FileManager.default.createDirectory(atPath: unreadable, withIntermediateDirectories: false)
        let named = [Frame.Field("id", id)]
        #expect(try await queue.control("FLUSH", named).last?.replyKind == .ok)
        var statistics: [Frame] = []
        repeat {
            statistics = try await queue.control("STATISTICS")
        } while statistics.contains { ($0["ready"] ?? "0") != "0" || $0.verb == "DESTINATION" && $0["active"] != "0" }
        #expect(statistics.last?["messages"] == "1")
        try FileManager.default.removeItem(atPath: unreadable)
        try FileManager.default.moveItem(atPath: saved, toPath: file)
        #expect(try await queue.control("FLUSH", named).last?.replyKind == .ok)
        try await deliverer.next().answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }

    /// While a message that is to be held is being moved, it's neither deleted nor lost.
    @Test func bounceBesideHoldLosesNothing() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        for _ in 0..<20 {
            let id = try #require(try await queue.submit(to: ["<bob@example.test>"])["id"])
            let request = try await deliverer.next()
            let named = [Frame.Field("id", id)]
            #expect(try await queue.control("HOLD", named).last?.replyKind == .ok)
            request.answer(.defer, "4.2.0")
            while try await queue.control("BOUNCE", named).last?.replyKind == .defer {}
            // The sender is told.
            let report = try await deliverer.next()
            #expect(report.frame["sender"] == "<>")
            report.answer(.ok, "2.0.0")
            _ = try await queue.list { $0.isEmpty }
        }
        await queue.stop()
        await deliverer.stop()
    }

    @Test func messageWhoseStateCannotBeReadWaitsUntilItCan() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        let relay = try await queue.relay()
        try await queue.start()
        let id = try #require(try await queue.submit(to: ["<bob@example.test>", "<carol@example.net>"])["id"])
        try await deliverer.next().answer(.ok, "2.0.0")
        try await relay.next().answer(.defer, "4.2.0")
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        await queue.stop()
        // After one more start the state is in its file alone, not in the journal, too.
        try await queue.start()
        await queue.stop()
        let state = queue.path("spool/state/\(id.suffix(2))/\(id)")
        try FileManager.default.moveItem(atPath: state, toPath: queue.path("saved"))
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: false)
        try await queue.start()
        // Nothing is known of it, so nothing is delivered a second time.
        _ = try await queue.submit(to: ["<bob@example.test>"])
        let other = try await deliverer.next()
        #expect(other.frame["id"] != id)
        other.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        try FileManager.default.removeItem(atPath: state)
        try FileManager.default.moveItem(atPath: queue.path("saved"), toPath: state)
        let messages = try await queue.list { !$0.isEmpty }
        #expect(messages.first?["id"] == id)
        #expect(messages.first?["recipient"] == "<carol@example.net>")
        await queue.stop()
        await deliverer.stop()
        await relay.stop()
    }

    /// A file that lost a recipient is not taken for the message that the queue knows.
    @Test func rottenMessageIsNotReturned() async throws {
        let queue = try TestQueue()
        try await queue.start()
        let id = try #require(try await queue.submit(to: ["<bob@example.test>", "<carol@example.test>"])["id"])
        let named = [Frame.Field("id", id)]
        #expect(try await queue.control("HOLD", named).last?.replyKind == .ok)
        let file = URL(fileURLWithPath: queue.path("spool/hold/\(id)"))
        let text = try String(contentsOf: file, encoding: .utf8)
        try text.replacing("recipient: <carol", with: "recipienz: <carol").write(
            to: file,
            atomically: false,
            encoding: .utf8
        )
        let reply = try await queue.control("BOUNCE", named).last
        #expect(reply?.replyKind == .defer)
        #expect(reply?["text"]?.contains("the checksum is wrong") == true)
        #expect(try await queue.list().map { $0["id"] } == [id])
        await queue.stop()
    }

    /// A deliverer whose disk failed at the last step is told that the message may be there.
    @Test func uncertainDelayIsTriedAgainAsARetry() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        _ = try await queue.submit(to: ["<bob@example.test>", "<carol@example.test>"])
        let request = try await deliverer.next()
        #expect(request.frame["retry"] == nil)
        request.answer(.defer, "4.3.0", [.init("recipient", "<bob@example.test>"), .init("uncertain", "yes")])
        request.answer(.defer, "4.2.0", [.init("recipient", "<carol@example.test>")])
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        await queue.advance(1_000_000)
        for _ in 0..<2 {
            let again = try await deliverer.next()
            #expect(again.frame["attempt"] == "2")
            #expect(again.frame["retry"] == (again.frame["recipient"] == "<bob@example.test>" ? "yes" : nil))
            again.answer(.ok, "2.0.0")
        }
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }
}
