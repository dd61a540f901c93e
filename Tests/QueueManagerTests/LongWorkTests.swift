import Bus
import NIOConcurrencyHelpers
import NIOCore
import Spool
import Testing

@testable import QueueManager

/// Work on many messages is done in slices: others have the loop between them, and what they do meanwhile counts.
@Suite(.timeLimit(.minutes(2))) struct LongWorkTests {
    private let unreachable = [Frame.Field("scope", "destination"), .init("text", "connection refused")]

    /// A queue with messages behind a destination that can't be reached; the first one was tried.
    private func stuck(_ count: Int, _ change: (inout QueueSettings) -> Void = { _ in }) async throws -> (
        TestQueue, TestDeliverer
    ) {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        try await queue.start(change)
        _ = try await queue.submit(to: ["<user0@example.net>"])
        try await relay.next().answer(.defer, "4.4.1", unreachable)
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        for number in 1..<count {
            _ = try await queue.submit(from: "<s\(number)@example.test>", to: ["<user\(number)@example.net>"])
        }
        return (queue, relay)
    }

    /// What waits past its time for a destination that can't be reached comes back with what was said of that; what is paused
    /// waits.
    @Test func whatIsTooOldIsReturnedWithTheDestinationsLastWords() async throws {
        let (queue, relay) = try await stuck(4) { $0.lifetime = 20_000_000 }
        let deliverer = try await queue.deliverer()
        _ = try await queue.control("PAUSE", [.init("sender", "s3@example.test")])
        await queue.advance(1_000_000)
        try await relay.next().answer(.defer, "4.4.1", unreachable)
        _ = try await queue.list { $0.count == 4 && $0.allSatisfy { $0["state"] != "active" } }
        await queue.advance(30_000_000)
        // One is tried once more, and all but the paused one come back.
        try await relay.next().answer(.defer, "4.4.1", unreachable)
        var returned: Set<String> = []
        for _ in 0..<3 {
            let report = try await deliverer.next()
            #expect(report.message.contains("connection refused"))
            for number in 0...3 where report.message.contains("user\(number)@example.net") {
                returned.insert("\(number)")
            }
            report.answer(.ok, "2.0.0")
        }
        #expect(returned == ["0", "1", "2"])
        let rest = try await queue.list { $0.count == 1 }
        #expect(rest.first?["sender"] == "<s3@example.test>")
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// Recipients whose turn never came hear what was said of their destination.
    @Test func whatExpiresBehindADestinationSaysWhy() async throws {
        let (queue, relay) = try await stuck(2)
        let deliverer = try await queue.deliverer()
        #expect(try await queue.control("EXPIRE", [.init("recipient", "user1@example.net")]).last?["count"] == "1")
        let report = try await deliverer.next()
        #expect(report.message.contains("connection refused"))
        #expect(!report.message.contains("never tried"))
        report.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.count == 1 }
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// A change that has to wait for a delivery is made only if the message still is what was meant then.
    @Test(arguments: [
        Frame.Field("domain", "example.net"), .init("destination", "example.net"), .init("reason", "later"),
        .init("recipient", "@example.net"),
    ])
    func changeLooksAgainAfterADelivery(condition: Frame.Field) async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        try await queue.start()
        _ = try await queue.submit(to: ["<ann@example.net>", "<bob@example.org>"])
        var requests = [try await relay.next(), try await relay.next()]
        if requests[0].frame["destination"] != "example.net" { requests.swapAt(0, 1) }
        if condition.name == "reason" {
            requests[0].answer(.defer, "4.2.0", [.init("text", "later")])
            _ = try await queue.list { $0.first?["reason"] == "4.2.0 later" }
            #expect(try await queue.control("FLUSH", [condition]).last?.replyKind == .ok)
            requests[0] = try await relay.next()
        }
        #expect(try await queue.control("REMOVE", [condition]).last?["count"] == "1")
        requests[0].answer(.ok, "2.0.0")
        requests[1].answer(.defer, "4.2.0")
        // The first is listed until its delivery is recorded.
        _ = try await queue.list { list in
            list.map { $0["recipient"] } == ["<bob@example.org>"] && list.first?["state"] != "active"
        }
        #expect(try await queue.control("STATISTICS").last?["deferred"] == "1")
        await queue.stop()
        await relay.stop()
    }

    @Test func flushAsksEveryDestinationOnce() async throws {
        let (queue, relay) = try await stuck(250)
        // The one that is on its way already may be counted or not.
        let counted = try await queue.control("FLUSH").last?.integer("count")
        #expect([249, 250].contains(counted))
        try await relay.next().answer(.defer, "4.4.1", unreachable)
        _ = try await queue.list { $0.allSatisfy { $0["state"] != "active" } }
        let summary = try await queue.control("STATISTICS").first { $0.verb == "DESTINATION" }
        #expect(summary?["blocked-until"] != nil)
        #expect(summary?["active"] == "0")
        await queue.stop()
        await relay.stop()
    }

    /// However much there is, a turn of the loop is about some hundreds of messages.
    @Test func walksGiveTheLoopAway() async throws {
        let queue = try TestQueue()
        let turns = NIOLockedValueBox(0)
        queue.turn.withLockedValue {
            $0 = { loop, work in
                turns.withLockedValue { $0 += 1 }
                loop.execute(work)
            }
        }
        try await queue.start()
        for number in 0..<450 { _ = try await queue.submit(to: ["<user\(number)@example.net>"]) }
        // There is no deliverer.
        let before = turns.withLockedValue { $0 }
        #expect(try await queue.control("FLUSH", [.init("destination", "example.net")]).last?["count"] == "450")
        #expect(turns.withLockedValue { $0 } - before >= 3)
        await queue.stop()
    }

    // MARK: What it stands on

    @Test func partedDictionaryIsADictionary() {
        var dictionary = PartedDictionary<String, Int>()
        for number in 0..<10_000 { dictionary["key\(number)"] = number }
        #expect(dictionary.count == 10_000)
        #expect(dictionary.partCount > 1)
        #expect((0..<dictionary.partCount).allSatisfy { dictionary[part: $0].count < 200 })
        for number in 0..<10_000 where number % 3 != 0 { dictionary["key\(number)"] = nil }
        #expect(dictionary["key3"] == 3)
        #expect(dictionary["key4"] == nil)
        for part in 0..<dictionary.partCount { dictionary.filter(part: part) { $1 < 300 } }
        #expect(dictionary.count == 100)
        var left: Set<Int> = []
        while let (_, value) = dictionary.popFirst() { left.insert(value) }
        #expect(left == Set(stride(from: 0, to: 300, by: 3)))
        #expect(dictionary.isEmpty)
    }

    @Test func alarmsComeInOrder() {
        var alarms = Alarms<Int>()
        #expect(alarms.min == nil)
        for number in 0..<1000 { alarms.insert((number * 7919) % 1000) }
        var times: [Int] = []
        while let time = alarms.popMin(where: { $0 < 500 }) { times.append(time) }
        #expect(times == Array(0..<500))
        #expect(alarms.min == 500)
    }

    /// Senders who are not ahead are forgotten, however many there were.
    @Test func turnsForgetWhoIsNotAhead() {
        var turns = SenderTurns()
        for number in 0..<100_000 { turns.take(turns.give("sender\(number)")) }
        #expect(turns.remembered < 10_000)
        #expect(turns.next(of: "sender1") == turns.now + 1)
    }
}
