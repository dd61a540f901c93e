import Bus
import Daemon
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import Network
import SMTP
import Spool
import Testing

@testable import QueueManager

/// What senders ask for by DSN, DELIVERBY, FUTURERELEASE and MT-PRIORITY.
@Suite struct ExtensionTests {
    private struct Stage {
        let queue: TestQueue
        let relay: TestDeliverer
        let local: TestDeliverer
    }

    private func run(_ body: (Stage) async throws -> Void) async throws {
        let queue = try TestQueue()
        let stage = Stage(queue: queue, relay: try await queue.relay(), local: try await queue.deliverer())
        try await queue.start()
        try await body(stage)
        await queue.stop()
        await stage.relay.stop()
        await stage.local.stop()
    }

    @Test func successIsReportedToWhoWantsToKnow() async throws {
        try await run { stage in
            _ = try await stage.queue.submit(
                from: "<alice@example.test> ENVID=QQ",
                to: ["<bob@example.test> NOTIFY=SUCCESS ORCPT=rfc822;Bob@example.test", "<carol@example.test>"]
            )
            let request = try await stage.local.next()
            request.answer(.ok, "2.0.0", [.init("text", "delivered to bob")])
            let report = try await stage.local.next()
            #expect(report.frame["sender"] == "<>")
            #expect(report.frame.all("recipient") == ["<alice@example.test> NOTIFY=NEVER"])
            #expect(report.message.contains("Subject: Mail delivered\r\n"))
            #expect(report.message.contains("Original-Envelope-Id: QQ\r\n"))
            #expect(
                report.message.contains(
                    "Original-Recipient: rfc822; Bob@example.test\r\nFinal-Recipient: rfc822; bob@example.test\r\n"
                        + "Action: delivered\r\nStatus: 2.0.0\r\n"
                )
            )
            #expect(!report.message.contains("carol"))
            report.answer(.ok, "2.0.0")
            _ = try await stage.queue.list { $0.isEmpty }
        }
    }

    /// Who passes the wish on leaves it to the next host; who can't says that the trace ends there.
    @Test(arguments: [true, false]) func relayedIsReportedWhereNobodyElseDoes(isElsewhere: Bool) async throws {
        try await run { stage in
            _ = try await stage.queue.submit(to: ["<bob@example.net> NOTIFY=SUCCESS"])
            let request = try await stage.relay.next()
            request.answer(.ok, "2.0.0", isElsewhere ? [.init("dsn", "yes")] : [])
            if !isElsewhere {
                let report = try await stage.local.next()
                #expect(report.message.contains("Action: relayed\r\n"))
                report.answer(.ok, "2.0.0")
            }
            _ = try await stage.queue.list { $0.isEmpty }
            #expect(try await stage.queue.control("STATISTICS").last?["total-reports"] == (isElsewhere ? "0" : "1"))
        }
    }

    @Test func anExpansionIsReportedOnce() async throws {
        try await run { stage in
            _ = try await stage.queue.submit(to: ["<team@example.test> NOTIFY=SUCCESS"])
            try await stage.local.next().answer(.ok, "2.0.0", [.init("expanded", "3")])
            let report = try await stage.local.next()
            #expect(report.message.contains("Action: expanded\r\n"))
            report.answer(.ok, "2.0.0")
            // To one address the wish has gone with the message.
            _ = try await stage.queue.submit(to: ["<alias@example.test> NOTIFY=SUCCESS"])
            try await stage.local.next().answer(.ok, "2.0.0", [.init("expanded", "1")])
            _ = try await stage.queue.list { $0.isEmpty }
            #expect(try await stage.queue.control("STATISTICS").last?["total-reports"] == "1")
        }
    }

    @Test(arguments: [1, 10_000]) func allOfItComesBackToWhoWantsThat(lines: Int) async throws {
        try await run { stage in
            let text = "Subject: x\r\n\r\n" + String(repeating: "The body\r\n", count: lines)
            _ = try await stage.queue.submit(from: "<alice@example.test> RET=FULL", to: ["<bob@example.net>"], text)
            try await stage.relay.next().answer(.reject, "5.1.1")
            let report = try await stage.local.next()
            // A large one is asked for piece by piece.
            let octets = try #require(report.frame.integer("octets"))
            #expect(octets > text.utf8.count)
            guard lines == 1 else { return report.answer(.ok, "2.0.0") }
            #expect(report.message.contains("Content-Type: message/rfc822\r\n"))
            #expect(report.message.contains("\r\n\(text)"))
            report.answer(.ok, "2.0.0")
        }
    }

    /// RFC 6533 §3.
    @Test func wholeMessageInUTF8IsGlobal() async throws {
        try await run { stage in
            let text = "Subject: gr\u{FC}n\r\n\r\nx\r\n"
            let sender = "<alice@example.test> RET=FULL SMTPUTF8"
            _ = try await stage.queue.submit(from: sender, to: ["<bob@example.net>"], text)
            try await stage.relay.next().answer(.reject, "5.1.1")
            let report = try await stage.local.next()
            #expect(report.message.contains("Content-Type: message/global\r\n"))
            #expect(!report.message.contains("message/rfc822"))
            #expect(report.message.contains("\r\n\(text)"))
            report.answer(.ok, "2.0.0")
        }
    }

    @Test(arguments: [true, false]) func reportsMayBeInUTF8WhereTheMessageWas(isUTF8: Bool) async throws {
        try await run { stage in
            _ = try await stage.queue.submit(
                from: "<alice@example.test>\(isUTF8 ? " SMTPUTF8" : "")",
                to: ["<j\u{F6}rg@example.net> ORCPT=utf-8;j\\x{F6}@example.net"]
            )
            try await stage.relay.next().answer(.reject, "5.6.7")
            let report = try await stage.local.next()
            #expect(report.message.contains("Content-Type: message/global-delivery-status") == isUTF8)
            #expect(report.message.contains("report-type=global-delivery-status") == isUTF8)
            let final = isUTF8 ? "j\u{F6}rg@example.net" : "j\\x{F6}rg@example.net"
            #expect(report.message.contains("Final-Recipient: utf-8; \(final)\r\n"))
            let original = isUTF8 ? "j\u{F6}@example.net" : "j\\x{F6}@example.net"
            #expect(report.message.contains("Original-Recipient: utf-8; \(original)\r\n"))
            #expect(report.frame["sender"] == (isUTF8 ? "<> BODY=8BITMIME SMTPUTF8" : "<>") || !isUTF8)
            report.answer(.ok, "2.0.0")
        }
    }

    // MARK: Times

    private func submit(_ stage: Stage, _ fields: [Frame.Field], to recipient: String = "<bob@example.net>")
        async throws
    {
        let text = "Subject: x\r\n\r\nx\r\n"
        let reply = try await stage.queue.talk("queue.sock") { connection in
            var parser = FrameParser()
            _ = try await connection.readFrame(&parser)
            let envelope: [Frame.Field] = [.init("sender", "<alice@example.test>"), .init("recipient", recipient)]
            connection.write(Frame("SUBMIT", envelope + fields, body: ByteBuffer(string: text)))
            connection.write(Frame("END"))
            try await connection.flush()
            return try await connection.readFrame(&parser)
        }
        #expect(reply?.replyKind == .ok)
    }

    /// Seconds since 1970.
    private func now(_ stage: Stage) -> Int64 { stage.queue.now.withLockedValue { $0 } / 1000 }

    @Test func whatIsHeldForItsSenderLeavesAtItsTime() async throws {
        try await run { stage in
            let time = now(stage) + 3600
            try await submit(stage, [.init("hold-until", "\(time)")])
            let entry = try #require(try await stage.queue.list { !$0.isEmpty }.first)
            #expect(entry["hold-until"] == "\(time)")
            #expect(entry["next"] == "\(time)")
            // Not for the administrator either.
            #expect(try await stage.queue.control("FLUSH").last?["count"] == "0")
            await stage.queue.advance(3_599_000)
            // The spool knows it, too.
            await stage.queue.stop()
            try await stage.queue.start()
            _ = try await stage.queue.list { $0.first?["next"] == "\(time)" }
            await stage.queue.advance(1_000)
            let request = try await stage.relay.next()
            #expect(request.frame["attempt"] == "1")
            request.answer(.ok, "2.0.0")
            _ = try await stage.queue.list { $0.isEmpty }
        }
    }

    @Test func whatIsNotDeliveredInTimeComesBackUntried() async throws {
        try await run { stage in
            try await submit(stage, [.init("deliver-by", "\(now(stage) + 600) R")])
            let request = try await stage.relay.next()
            #expect(request.frame["deliver-by"] == "\(now(stage) + 600) R")
            request.answer(.defer, "4.4.1", [.init("text", "no answer"), .init("scope", "destination")])
            _ = try await stage.queue.list { $0.first?["state"] == "deferred" }
            await stage.queue.advance(600_000)
            let report = try await stage.local.next()
            #expect(report.message.contains("Action: failed\r\nStatus: 5.4.7\r\n"))
            report.answer(.ok, "2.0.0")
            _ = try await stage.queue.list { $0.isEmpty }
        }
    }

    @Test(arguments: ["", " NOTIFY=FAILURE", " NOTIFY=NEVER"])
    func whatIsLateIsTold(notify: String) async throws {
        try await run { stage in
            try await submit(stage, [.init("deliver-by", "\(now(stage) + 600) N")], to: "<bob@example.net>\(notify)")
            try await stage.relay.next().answer(.defer, "4.2.0")
            _ = try await stage.queue.list { $0.first?["state"] == "deferred" }
            await stage.queue.advance(600_000)
            if notify != " NOTIFY=NEVER" {
                let report = try await stage.local.next()
                #expect(report.message.contains("Action: delayed\r\nStatus: 4.4.7\r\n"))
                report.answer(.ok, "2.0.0")
            }
            _ = try await stage.queue.list { $0.count == 1 && $0.first?["state"] == "deferred" }
            // It's tried on, and told once.
            await stage.queue.advance(500_000)
            try await stage.relay.next().answer(.ok, "2.0.0", [.init("dsn", "yes")])
            _ = try await stage.queue.list { $0.isEmpty }
            let count = notify == " NOTIFY=NEVER" ? "0" : "1"
            #expect(try await stage.queue.control("STATISTICS").last?["total-reports"] == count)
        }
    }

    /// What is held when its deadline is over is told late when it's released.
    @Test func deadlineThatIsOverMeanwhileIsToldOnRelease() async throws {
        try await run { stage in
            try await submit(stage, [.init("deliver-by", "\(now(stage) + 600) N")])
            try await stage.relay.next().answer(.defer, "4.2.0")
            let deferred = try await stage.queue.list { $0.first?["state"] == "deferred" }
            let id = try #require(deferred.first?["id"])
            #expect(try await stage.queue.control("HOLD", [.init("id", id)]).last?.replyKind == .ok)
            await stage.queue.advance(600_000)
            #expect(try await stage.queue.control("STATISTICS").last?["total-reports"] == "0")
            #expect(try await stage.queue.control("RELEASE", [.init("id", id)]).last?.replyKind == .ok)
            let (first, second) = (try await stage.local.next(), try await stage.relay.next())
            #expect(first.message.contains("Action: delayed\r\nStatus: 4.4.7\r\n"))
            first.answer(.ok, "2.0.0")
            second.answer(.ok, "2.0.0", [.init("dsn", "yes")])
            _ = try await stage.queue.list { $0.isEmpty }
        }
    }

    @Test func traceEndsAreTold() async throws {
        try await run { stage in
            try await submit(stage, [.init("deliver-by", "\(now(stage) + 600) N")])
            try await stage.relay.next().answer(.ok, "2.0.0", [.init("untimed", "yes")])
            let report = try await stage.local.next()
            #expect(report.message.contains("Action: relayed\r\n"))
            report.answer(.ok, "2.0.0")
            _ = try await stage.queue.list { $0.isEmpty }
        }
    }

    @Test func higherPrioritiesGoFirstAndNobodyStarves() throws {
        var lines = PriorityLines()
        for number in 1...UInt64(24) {
            var head = try TestMessages.head(number, from: "<s\(number)@example.test>", to: ["<bob@example.net>"])
            head.envelope.terms.priority = [3, 0, -3][Int(number % 3)]
            let message = QueuedMessage(head)
            lines.append(DeliveryJob(message, to: "example.net", recipients: [0], mayBeKnown: false))
        }
        var order: [Int] = []
        while let job = lines.popFirst() { order.append(job.message.terms.priority) }
        #expect(lines.isEmpty)
        #expect(Array(order.prefix(10)) == [3, 3, 3, 3, 0, 3, 3, 3, 3, 0])
        #expect(Array(order.suffix(7)).allSatisfy { $0 == -3 })
        for priority in [3, 0, -3] { #expect(order.filter { $0 == priority }.count == 8) }
    }
}
