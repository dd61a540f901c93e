import NIOConcurrencyHelpers
import Bus
import NIOCore
import Network
import Testing

@testable import QueueManager

@Suite struct SchedulingTests {
    @Test func deferredMessageComesAgainInTime() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        _ = try await queue.submit(to: ["<bob@example.test>"])
        try await deliverer.next().answer(.defer, "4.2.2")
        // The reason is read from the spool, which has it a moment later than the schedule.
        let waiting = try await queue.list { $0.first?["reason"]?.hasPrefix("4.2.2") == true }
        #expect(waiting.first?["state"] == "deferred")
        #expect(waiting.first?["next"] == "1795448200")
        await queue.advance(999_000)
        #expect(try await queue.list().first?["state"] == "deferred")
        await queue.advance(1_000)
        let second = try await deliverer.next()
        #expect(second.frame["attempt"] == "2")
        #expect(second.frame["retry"] == nil)
        second.answer(.defer, "4.2.2")
        #expect(try await queue.list { $0.first?["attempts"] == "2" }.first?["next"] == "1795450200")
        await queue.advance(2_000_000)
        try await deliverer.next().answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }

    @Test func waitsDoubleWithinBounds() {
        let backoff = Backoff(minimum: 100, maximum: 1000)
        #expect((1...6).map { backoff.delay(afterAttempts: $0, chance: 0.5) } == [100, 200, 400, 800, 1000, 1000])
        #expect(backoff.delay(afterAttempts: 3, chance: 0) == 320)
        #expect(backoff.delay(afterAttempts: 3, chance: 1) == 480)
        #expect(backoff.delay(afterAttempts: 1, chance: 0) == 100)
        #expect(backoff.delay(afterAttempts: .max, chance: 1) == 1000)
    }

    @Test func everythingIsThereAfterARestart() async throws {
        let queue = try TestQueue()
        try await queue.start()
        var ids: Set<String?> = []
        for number in 0..<20 { ids.insert(try await queue.submit(to: ["<user\(number)@example.test>"])["id"]) }
        await queue.stop()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        for _ in 0..<20 {
            let request = try await deliverer.next()
            #expect(request.frame["retry"] == "yes")
            #expect(ids.remove(request.frame["id"]) != nil)
            request.answer(.ok, "2.0.0")
        }
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }

    @Test func recipientsWithAResultAreNotTriedAfterARestart() async throws {
        let queue = try TestQueue()
        var relay = try await queue.relay()
        try await queue.start()
        let recipients = ["<a@example.net>", "<b@example.net>", "<c@example.net>"]
        _ = try await queue.submit(to: recipients)
        let request = try await relay.next()
        #expect(request.frame.all("recipient") == recipients)
        #expect(request.frame["destination"] == "example.net")
        request.answer(.defer, "4.2.0", [.init("recipient", "<b@example.net>")])
        request.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        await queue.stop()
        await relay.stop()
        relay = try await queue.relay()
        try await queue.start()
        #expect(try await queue.list { !$0.isEmpty }.first?.all("recipient") == ["<b@example.net>"])
        await queue.advance(1_000_000)
        let again = try await relay.next()
        #expect(again.frame.all("recipient") == ["<b@example.net>"])
        #expect(again.frame["attempt"] == "2")
        again.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await relay.stop()
    }

    @Test func killedDelivererIsNoFailedAttempt() async throws {
        let queue = try TestQueue()
        let first = try await queue.deliverer()
        try await queue.start()
        _ = try await queue.submit(to: ["<bob@example.test>"])
        let request = try await first.next()
        await first.stop()
        request.connection.eventLoop.execute { request.connection.abort() }
        let second = try await queue.deliverer()
        let again = try await second.next()
        #expect(again.frame["attempt"] == "1")
        #expect(again.frame["retry"] == "yes")
        again.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await second.stop()
    }

    @Test(.timeLimit(.minutes(2))) func deferredMessageComesAgainAfterItsDelivererWasAway() async throws {
        let queue = try TestQueue()
        let first = try await queue.relay()
        try await queue.start()
        _ = try await queue.submit(to: ["<one@example.net>"])
        try await first.next().answer(.defer, "4.2.2")
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        // The destination begins anew with another message, and is left alone again.
        _ = try await queue.submit(to: ["<two@example.net>"])
        let other = try await first.next()
        other.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.count == 1 }
        await first.stop()
        other.connection.eventLoop.execute { other.connection.abort() }
        await queue.advance(1_000_000)
        let second = try await queue.relay()
        let again = try await second.next()
        #expect(again.frame.all("recipient") == ["<one@example.net>"])
        again.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await second.stop()
    }

    @Test func unreachableDestinationIsLeftAloneByAll() async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        try await queue.start { $0.destinationConcurrency = 1 }
        _ = try await queue.submit(to: ["<one@example.net>"])
        try await relay.next().answer(.defer, "4.4.1", [.init("scope", "destination")])
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        _ = try await queue.submit(to: ["<two@example.net>"])
        _ = try await queue.submit(to: ["<other@example.org>"])
        // What comes next is for the other destination.
        let other = try await relay.next()
        #expect(other.frame["destination"] == "example.org")
        other.answer(.ok, "2.0.0")
        #expect(try await queue.list { $0.count == 2 }.allSatisfy { $0["state"] != "active" })
        await queue.advance(1_000_000)
        var names: Set<String?> = []
        for _ in 0..<2 {
            let request = try await relay.next()
            names.insert(request.frame["recipient"])
            request.answer(.ok, "2.0.0")
        }
        #expect(names == ["<one@example.net>", "<two@example.net>"])
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await relay.stop()
    }

    /// Also where the message that found it unreachable has left, and nothing else happens.
    @Test(.timeLimit(.minutes(2))) func queueWakesUpForADestinationThatIsLeftAlone() async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        try await queue.start { $0.destinationConcurrency = 1 }
        _ = try await queue.submit(from: "<>", to: ["<postmaster@example.net>"])
        let request = try await relay.next()
        _ = try await queue.submit(from: "<>", to: ["<two@example.net>"])
        queue.now.withLockedValue { $0 += 6 * 86_400_000 }
        request.answer(.defer, "4.4.1", [.init("scope", "destination")])
        _ = try await queue.list { $0.count == 1 }
        let alarm = try await queue.alarm()
        #expect(alarm == queue.now.withLockedValue { $0 } + 1_000_000)
        await queue.stop()
        await relay.stop()
    }

    @Test func concurrencyIsLimited() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start { $0.localConcurrency = 3 }
        for number in 0..<7 { _ = try await queue.submit(to: ["<user\(number)@example.test>"]) }
        var open: [DeliveryRequest] = []
        for _ in 0..<3 { open.append(try await deliverer.next()) }
        #expect(try await queue.list { $0.count == 7 }.filter { $0["state"] == "active" }.count == 3)
        for _ in 0..<4 {
            open.removeFirst().answer(.ok, "2.0.0")
            open.append(try await deliverer.next())
            #expect(try await queue.list().filter { $0["state"] == "active" }.count <= 3)
        }
        for request in open { request.answer(.ok, "2.0.0") }
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await deliverer.stop()
    }
}
