import Bus
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import SMTP
import Testing

@testable import Deliverer

@Suite struct DeliverySessionTests {
    private static let done = DeliveryResult(.delivered, .success, "done")
    private static let small = ByteBuffer(string: "Subject: x\r\n\r\nhello\r\n")
    private static let large = ByteBuffer(bytes: (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 / 7) })

    /// All octets of a message.
    private static func whole(_ job: DeliveryJob) async throws(MessageSourceError) -> ByteBuffer {
        var octets = ByteBuffer()
        let reader = job.message.reader()
        while let piece = try await reader.next() { octets.writeImmutableBuffer(piece) }
        return octets
    }

    /// What a deliverer read, in the order of the jobs.
    private final class Mailbox: Sendable {
        let messages = NIOLockedValueBox<[ByteBuffer]>([])

        /// Keeps the message, and says so of each recipient.
        func keep(_ job: DeliveryJob) async {
            do throws(MessageSourceError) {
                let message = try await DeliverySessionTests.whole(job)
                messages.withLockedValue { $0.append(message) }
                job.report(DeliverySessionTests.done)
            } catch {
                job.report(DeliveryResult(.delayed, .systemTrouble, "\(error)"))
            }
        }

        var first: ByteBuffer? { messages.withLockedValue { $0.first } }
    }

    /// Lets jobs wait until a test says so.
    private final class Gate: Sendable {
        private let promise: EventLoopPromise<Void>

        init() { promise = MultiThreadedEventLoopGroup.singleton.next().makePromise() }

        func open() { promise.succeed(()) }

        func wait() async { try? await promise.futureResult.get() }
    }

    @Test func smallMessageIsInTheRequest() async throws {
        let mailbox = Mailbox()
        try await FakeQueueManager.run(work: { await mailbox.keep($0) }) { queue in
            try await queue.send(try FakeQueueManager.request(Self.small, to: ["b", "c"], added: "A: b\r\n"))
            let replies = try await queue.replies(2, giving: ByteBuffer()) { _ in Issue.record("nothing to read") }
            #expect(replies.map(\.verb) == ["OK", "OK"])
            #expect(replies.map { $0["tag"] } == ["7", "7"])
            #expect(replies.map { $0["recipient"] } == ["<b@example.test>", "<c@example.test>"])
        }
        #expect(mailbox.first.map { String(buffer: $0) } == "A: b\r\n" + String(buffer: Self.small))
    }

    @Test func requestMayBeAsLargeAsItCan() async throws {
        let mailbox = Mailbox()
        let message = ByteBuffer(repeating: 0x78, count: DeliverRequest.inlineLimit)
        let added = "X: " + String(repeating: "y", count: 64 * 1024 - 5) + "\r\n"
        try await FakeQueueManager.run(work: { await mailbox.keep($0) }) { queue in
            let names = (0..<20_000 - 100).map { "recipient\($0)" }
            try await queue.send(try FakeQueueManager.request(message, to: names, added: added))
            #expect(try await queue.replies(names.count, giving: ByteBuffer()).allSatisfy { $0.verb == "OK" })
        }
        #expect(mailbox.first?.readableBytes == 128 * 1024)
    }

    @Test func largeMessageComesInPieces() async throws {
        let mailbox = Mailbox()
        try await FakeQueueManager.run(work: { await mailbox.keep($0) }) { queue in
            try await queue.send(try FakeQueueManager.request(Self.large, added: "A: b\r\n"))
            var count = 0
            let reply = try #require(try await queue.replies(1, giving: Self.large) { count += $0.length }.first)
            #expect(reply.verb == "OK")
            #expect(count == Self.large.readableBytes)
        }
        var expected = ByteBuffer(string: "A: b\r\n")
        expected.writeImmutableBuffer(Self.large)
        #expect(mailbox.first == expected)
    }

    @Test func noMoreIsAskedForThanIsReadAhead() async throws {
        let mailbox = Mailbox()
        try await FakeQueueManager.run(work: { await mailbox.keep($0) }) { queue in
            try await queue.send(try FakeQueueManager.request(Self.large))
            var asked: [PieceRequest] = []
            for _ in 0..<MessageReader.readAhead {
                asked.append(try #require(try await queue.receive().flatMap { PieceRequest($0) }))
            }
            #expect(asked.map(\.offset) == (0..<4).map { $0 * DeliverRequest.pieceLimit })
            // Whatever is asked for beyond is here before the answer to another frame.
            try await queue.send(Frame("DANCE", ["tag": "8"]))
            #expect(try await queue.receive()?.verb == "REJECT")
            for piece in asked {
                let slice = try #require(Self.large.getSlice(at: piece.offset, length: piece.length))
                try await queue.send(piece.answer(slice))
            }
            #expect(try await queue.replies(1, giving: Self.large).map(\.verb) == ["OK"])
        }
        #expect(mailbox.first == Self.large)
    }

    @Test func requestsTakeTurns() async throws {
        let gate = Gate()
        let mailbox = Mailbox()
        let work: DeliveryServer.Work = { job in
            if job.request.octets < 100 { await gate.wait() }
            await mailbox.keep(job)
        }
        try await FakeQueueManager.run(work: work) { queue in
            try await queue.send(
                try FakeQueueManager.request(Self.small, tag: "1"),
                try FakeQueueManager.request(Self.large, tag: "2"),
                try FakeQueueManager.request(Self.large, tag: "3")
            )
            let large = try await queue.replies(2, giving: Self.large)
            #expect(Set(large.map { $0["tag"] }) == ["2", "3"])
            gate.open()
            #expect(try await queue.receive()?["tag"] == "1")
        }
        #expect(mailbox.messages.withLockedValue { $0 } == [Self.large, Self.large, Self.small])
    }

    @Test func twoReadersOfOneMessage() async throws {
        let results = NIOLockedValueBox<[ByteBuffer]>([])
        let work: DeliveryServer.Work = { job in
            for _ in 0..<2 {
                guard let message = try? await Self.whole(job) else { return }
                results.withLockedValue { $0.append(message) }
            }
            job.report(Self.done)
        }
        try await FakeQueueManager.run(work: work) { queue in
            try await queue.send(try FakeQueueManager.request(Self.large))
            #expect(try await queue.replies(1, giving: Self.large).map(\.verb) == ["OK"])
        }
        #expect(results.withLockedValue { $0 } == [Self.large, Self.large])
    }

    @Test(arguments: [true, false]) func pieceThatIsRefusedOrWrongIsADelay(isRefused: Bool) async throws {
        let mailbox = Mailbox()
        try await FakeQueueManager.run(work: { await mailbox.keep($0) }) { queue in
            try await queue.send(try FakeQueueManager.request(Self.large, to: ["b", "c"]))
            let piece = try #require(try await queue.receive().flatMap { PieceRequest($0) })
            try await queue.send(isRefused ? piece.refusal("disk trouble") : piece.answer(ByteBuffer(string: "short")))
            var replies: [Frame] = []
            while replies.count < 2 {
                let frame = try #require(try await queue.receive())
                if frame.replyKind != nil { replies.append(frame) }
            }
            #expect(replies.map(\.verb) == ["DEFER", "DEFER"])
            if isRefused { #expect(replies.allSatisfy { $0["text"]?.contains("disk trouble") == true }) }
            // The connection is as good as before.
            try await queue.send(try FakeQueueManager.request(Self.small, tag: "8"))
            while let frame = try await queue.receive() {
                guard frame["tag"] == "8" else { continue }
                #expect(frame.verb == "OK")
                break
            }
        }
        #expect(mailbox.messages.withLockedValue { $0.count } == 1)
    }

    @Test func everyRecipientIsAnsweredAlone() async throws {
        let gate = Gate()
        let work: DeliveryServer.Work = { job in
            job.report(DeliveryResult(.failed, .noSuchMailbox, "no"), at: 1)
            // Only the first result counts, and there is no tenth recipient.
            job.report(Self.done, at: 1)
            job.report(Self.done, at: 9)
            await gate.wait()
            job.report(DeliveryResult(.delayed, .noAnswer, "later", scope: .destination), at: 2)
            job.report(Self.done)
        }
        try await FakeQueueManager.run(work: work) { queue in
            try await queue.send(try FakeQueueManager.request(Self.small, to: ["b", "c", "d"]))
            let first = try #require(try await queue.receive())
            #expect(first["recipient"] == "<c@example.test>")
            #expect(first.verb == "REJECT")
            gate.open()
            let rest = try await queue.replies(2, giving: ByteBuffer())
            #expect(rest.map { $0["recipient"] } == ["<d@example.test>", "<b@example.test>"])
            #expect(rest.map(\.verb) == ["DEFER", "OK"])
            #expect(rest.map { $0["scope"] } == ["destination", nil])
        }
    }

    @Test func nobodyIsLeftWithoutAnAnswer() async throws {
        try await FakeQueueManager.run(work: { $0.report(Self.done, at: 0) }) { queue in
            try await queue.send(try FakeQueueManager.request(Self.small, to: ["b", "c", "d"]))
            let replies = try await queue.replies(2, giving: ByteBuffer())
            #expect(replies.map { $0["recipient"] } == ["<b@example.test>", nil])
            #expect(replies.map(\.verb) == ["OK", "DEFER"])
        }
    }

    @Test func cancelledJobIsToldToWait() async throws {
        let gate = Gate()
        let work: DeliveryServer.Work = { job in
            await gate.wait()
            if !job.isAbandoned { job.report(Self.done) }
        }
        try await FakeQueueManager.run(work: work) { queue in
            try await queue.send(
                try FakeQueueManager.request(Self.small, tag: "1"),
                try FakeQueueManager.request(Self.small, tag: "2"),
                Frame("CANCEL", ["tag": "1"]),
                Frame("CANCEL", ["tag": "unknown"]),
                Frame("DANCE", ["tag": "3"])
            )
            // No answer to a request that may have the same tag.
            let refusal = try await queue.receive()
            #expect(refusal?.status == .invalidCommand)
            #expect(refusal?["tag"] == nil)
            gate.open()
            var verbs: [String: String] = [:]
            for reply in try await queue.replies(2, giving: ByteBuffer()) { verbs[reply["tag"] ?? ""] = reply.verb }
            #expect(verbs == ["1": "DEFER", "2": "OK"])
        }
    }

    @Test func tagInUseEndsTheConnection() async throws {
        let gate = Gate()
        let seen = NIOLockedValueBox<[Bool]>([])
        let work: DeliveryServer.Work = { job in
            await gate.wait()
            seen.withLockedValue { $0.append(job.isAbandoned) }
        }
        try await FakeQueueManager.run(work: work) { queue in
            let request = try FakeQueueManager.request(Self.small)
            try await queue.send(request, request)
            let refusal = try await queue.receive()
            #expect(refusal?.verb == "REJECT")
            #expect(refusal?["tag"] == nil)
            gate.open()
            #expect(try await queue.receive() == nil)
        }
        #expect(seen.withLockedValue { $0 } == [true])
    }

    @Test func lostConnectionAbandonsItsJobs() async throws {
        let outcomes = NIOLockedValueBox<[String]>([])
        let work: DeliveryServer.Work = { job in
            do throws(MessageSourceError) {
                _ = try await Self.whole(job)
            } catch {
                let outcome = job.isAbandoned ? "\(error)" : "not abandoned"
                outcomes.withLockedValue { $0.append(outcome) }
            }
        }
        try await FakeQueueManager.run(work: work) { queue in
            try await queue.send(
                try FakeQueueManager.request(Self.large, tag: "1"),
                try FakeQueueManager.request(Self.large, tag: "2")
            )
            #expect(try await queue.receive()?.verb == "READ")
            queue.connection.abort()
        }
        let expected = MessageSourceError.abandoned.description
        #expect(outcomes.withLockedValue { $0 } == [expected, expected])
    }

    @Test func resultOfALostConnectionIsStillTold() async throws {
        let gate = Gate()
        let work: DeliveryServer.Work = { job in
            await gate.wait()
            if job.isAbandoned { job.report(Self.done, at: 0) }
        }
        try await FakeQueueManager.run(work: work) { queue in
            try await queue.send(try FakeQueueManager.request(Self.small, to: ["b", "c"]))
            try await queue.connection.channel.close(mode: .output).get()
            // The end is seen before the gate opens.
            try await queue.connection.eventLoop.scheduleTask(in: .milliseconds(50)) {}.futureResult.get()
            gate.open()
            #expect(try await queue.receive()?["recipient"] == "<b@example.test>")
            // Of whom nothing is known, nothing is said.
            let more = try? await queue.receive()
            #expect(more == nil)
        }
    }

    @Test func thereIsALimitOfRequests() async throws {
        let gate = Gate()
        let work: DeliveryServer.Work = { job in
            await gate.wait()
            job.report(Self.done)
        }
        try await FakeQueueManager.run(maximumRequests: 2, work: work) { queue in
            for tag in ["1", "2", "3"] { try await queue.send(try FakeQueueManager.request(Self.small, tag: tag)) }
            let refusal = try await queue.receive()
            #expect(refusal?.verb == "DEFER")
            #expect(refusal?["tag"] == "3")
            #expect(refusal?["status"] == "4.3.2")
            gate.open()
            #expect(Set(try await queue.replies(2, giving: ByteBuffer()).map { $0["tag"] }) == ["1", "2"])
            try await queue.send(try FakeQueueManager.request(Self.small, tag: "4"))
            #expect(try await queue.receive()?.verb == "OK")
        }
    }

    @Test func malformedRequestsAreDelays() async throws {
        try await FakeQueueManager.run(work: { $0.report(Self.done) }) { queue in
            var request = try FakeQueueManager.request(Self.small)
            request["octets"] = "1"
            try await queue.send(request, Frame("DELIVER", ["tag": "8"]), Frame("DELIVER"))
            let replies = try await queue.replies(3, giving: ByteBuffer())
            #expect(replies.map(\.verb) == ["DEFER", "DEFER", "DEFER"])
            #expect(replies.map { $0["tag"] } == ["7", "8", nil])
            queue.connection.write("no frame at all\n\n")
            try await queue.connection.flush()
            #expect(try await queue.receive()?["status"] == "5.5.2")
            #expect(try await queue.receive() == nil)
        }
    }

    /// Threads of a pool read a message, too.
    @Test func readersMayBlock() async throws {
        let read = NIOLockedValueBox(ByteBuffer())
        let work: DeliveryServer.Work = { job in
            let reader = job.message.reader()
            let result = try? await NIOThreadPool.singleton.runIfActive(eventLoop: job.message.loop) {
                do throws(MessageSourceError) {
                    while let piece = try reader.nextBlocking() {
                        read.withLockedValue { _ = $0.writeImmutableBuffer(piece) }
                    }
                    return true
                } catch {
                    return false
                }
            }.get()
            if result == true { job.report(Self.done) }
        }
        try await FakeQueueManager.run(work: work) { queue in
            try await queue.send(try FakeQueueManager.request(Self.large))
            #expect(try await queue.replies(1, giving: Self.large).map(\.verb) == ["OK"])
        }
        #expect(read.withLockedValue { $0 } == Self.large)
    }
}
