import Bus
import Foundation
import NIOCore
import Testing

@testable import QueueManager

/// What administrators do to many messages at once.
@Suite struct SelectionTests {
    /// A queue of messages that wait, each for another reason; their IDs by recipient.
    private func queue(_ texts: [String: String]) async throws -> (TestQueue, TestDeliverer, [String: String]) {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        try await queue.start()
        var ids: [String: String] = [:]
        for (name, text) in texts.sorted(by: { $0.key < $1.key }) {
            let fields: [Frame.Field] = name == "user" ? [.init("user", "carol@example.test")] : []
            let reply = try await queue.submit(
                from: name == "user" ? "<shop@example.test>" : "<alice@example.test>",
                to: ["<\(name)@\(name).example>"],
                "Subject: \(name)\r\n\r\n" + String(repeating: "x", count: name == "large" ? 50_000 : 10),
                fields: fields
            )
            ids[name] = reply["id"]
            try await relay.next().answer(.defer, "4.2.2", [.init("text", text)])
        }
        _ = try await queue.list { messages in
            messages.count == texts.count && messages.allSatisfy { $0["state"] == "deferred" && $0["reason"] != "" }
        }
        return (queue, relay, ids)
    }

    @Test func messagesAreFoundByEveryCondition() async throws {
        let (queue, relay, ids) = try await queue([
            "full": "mailbox FULL", "large": "too busy", "user": "later", "last": "later",
        ])
        func list(_ fields: Frame.Field...) async throws -> Set<String> {
            let found = try await queue.control("LIST", fields).filter { $0.verb == "MESSAGE" }.compactMap { $0["id"] }
            return Set(found.map { id in ids.first { $0.value == id }?.key ?? id })
        }
        #expect(try await list(.init("reason", "mailbox full")) == ["full"])
        #expect(try await list(.init("reason", "4.2.2")).count == 4)
        #expect(try await list(.init("larger", "40000")) == ["large"])
        #expect(try await list(.init("smaller", "40000")) == ["full", "user", "last"])
        #expect(try await list(.init("account", "carol@example.test")) == ["user"])
        #expect(try await list(.init("sender", "carol@example.test")) == ["user"])
        #expect(try await list(.init("sender", "shop@example.test")) == ["user"])
        #expect(try await list(.init("sender", "@example.test")).count == 4)
        #expect(try await list(.init("recipient", "@last.example")) == ["last"])
        #expect(try await list(.init("domain", "full.example"), .init("state", "deferred")) == ["full"])
        #expect(try await list(.init("domain", "example.test")).isEmpty)
        #expect(try await list(.init("id", ids["last"] ?? ""), .init("reason", "full")).isEmpty)
        #expect(try await list(.init("older", "60")).isEmpty)
        #expect(try await list(.init("newer", "60")).count == 4)
        await queue.advance(100_000)
        #expect(try await list(.init("older", "60")).count == 4)
        #expect(try await queue.control("LIST", [.init("older", "soon")]).last?["status"] == "5.5.4")
        await queue.stop()
        await relay.stop()
    }

    @Test func listHasPagesInOrder() async throws {
        let queue = try TestQueue()
        try await queue.start()
        var ids: [String?] = []
        for number in 1...7 { ids.append(try await queue.submit(to: ["<user\(number)@example.net>"])["id"]) }
        var found: [String?] = []
        var after: String?
        repeat {
            let fields = [Frame.Field("limit", "3")] + (after.map { [.init("after", $0)] } ?? [])
            let page = try await queue.control("LIST", fields)
            #expect(page.count <= 4)
            found += page.dropLast().map { $0["id"] }
            after = page.last?["next"]
        } while after != nil
        #expect(found == ids)
        // What doesn't meet the condition leaves room for others.
        let last = try await queue.control("LIST", [.init("limit", "1"), .init("recipient", "@example.net")])
        #expect(last.first?["id"] == ids[0])
        #expect(try await queue.control("LIST", [.init("limit", "0")]).last?.replyKind == .reject)
        #expect(try await queue.control("LIST", [.init("after", "x")]).last?.replyKind == .reject)
        await queue.stop()
    }

    @Test func manyAreChangedOnlyWhereThatIsSaid() async throws {
        let (queue, relay, ids) = try await queue(["one": "full", "two": "full", "three": "busy"])
        for verb in ["HOLD", "RELEASE", "REQUEUE", "REROUTE", "REMOVE", "BOUNCE", "EXPIRE"] {
            #expect(try await queue.control(verb).last?["status"] == "5.5.4")
        }
        #expect(try await queue.control("HOLD", [.init("reason", "full")]).last?["count"] == "2")
        #expect(try await queue.list().filter { $0["state"] == "held" }.count == 2)
        let all = try await queue.control("HOLD", [.init("all", "yes")]).last
        #expect(all?["count"] == "1" && all?["unchanged"] == "2")
        #expect(try await queue.control("REMOVE", [.init("state", "deferred")]).last?["count"] == "0")
        // Of those that are named, all that are there are changed.
        let named = [Frame.Field("id", String(repeating: "0", count: 24)), .init("id", ids["one"] ?? "")]
        let reply = try await queue.control("REMOVE", named).last
        #expect(reply?.replyKind == .reject)
        #expect(reply?["count"] == "1")
        #expect(try await queue.control("REMOVE", [.init("all", "yes")]).last?["count"] == "2")
        #expect(try await queue.list().isEmpty)
        await queue.stop()
        await relay.stop()
    }

    /// What was so before isn't counted as done, and the first that is missing stops nothing.
    @Test func whatIsNotChangedIsNotCounted() async throws {
        let (queue, relay, ids) = try await queue(["one": "full", "two": "full", "three": "busy"])
        let released = try await queue.control("RELEASE", [.init("sender", "alice@example.test")]).last
        #expect(released?.replyKind == .ok && released?["count"] == "0" && released?["unchanged"] == "3")
        _ = try await queue.control("HOLD", [.init("id", ids["two"] ?? "")])
        let again = try await queue.control("HOLD", [.init("id", ids["two"] ?? "")]).last
        #expect(again?["count"] == "0" && again?["unchanged"] == "1")
        let missing = Frame.Field("id", String(repeating: "0", count: 24))
        let named = ["one", "two", "three"].map { Frame.Field("id", ids[$0] ?? "") }
        let flushed = try await queue.control("FLUSH", [named[0], missing, named[1], named[2]]).last
        #expect(flushed?.replyKind == .reject && flushed?["text"]?.contains(missing.value) == true)
        #expect(flushed?["count"] == "2")
        var tried: Set<String?> = []
        for _ in 1...2 {
            let request = try await relay.next()
            tried.insert(request.frame["id"])
            request.answer(.defer, "4.2.2")
        }
        #expect(tried == [ids["one"], ids["three"]])
        let held = try await queue.control("FLUSH", [named[1]]).last
        #expect(held?.replyKind == .defer && held?["count"] == "0")
        await queue.stop()
        await relay.stop()
    }

    /// A message that is delivered to one recipient and waits for two others.
    private func partly(_ queue: TestQueue, _ relay: TestDeliverer) async throws -> String {
        let recipients = ["<ann@one.example>", "<bob@two.example>", "<carol@two.example>", "<dave@three.example>"]
        let id = try #require(try await queue.submit(to: recipients)["id"])
        for _ in 1...3 {
            let request = try await relay.next()
            if request.frame["destination"] == "one.example" {
                request.answer(.ok, "2.0.0", [.init("dsn", "yes")])
            } else {
                request.answer(.defer, "4.2.2", [.init("text", "full at \(request.frame["destination"] ?? "")")])
            }
        }
        _ = try await queue.list { $0.first?["state"] == "deferred" && $0.first?.all("recipient").count == 3 }
        return id
    }

    private func open(_ queue: TestQueue) async throws -> [String] {
        try await queue.list().first?.all("recipient").sorted() ?? []
    }

    /// One recipient's copy is thrown away or returned, and the others get theirs.
    @Test func recipientsAreHandledApart() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start()
        let id = try await partly(queue, relay)
        // Who has it already is not meant.
        for verb in ["REMOVE", "BOUNCE", "EXPIRE"] {
            #expect(try await queue.control(verb, [.init("recipient", "ann@one.example")]).last?["count"] == "0")
        }
        #expect(try await open(queue).count == 3)
        // All of the conditions hold for one recipient, or it isn't meant.
        let none = [Frame.Field("recipient", "bob@two.example"), .init("reason", "full at three")]
        #expect(try await queue.control("REMOVE", none).last?["count"] == "0")
        #expect(try await queue.control("REMOVE", [.init("recipient", "bob@two.example")]).last?["count"] == "1")
        #expect(try await open(queue).count == 2)
        // It's held meanwhile, and stays so.
        let named = [Frame.Field("id", id)]
        #expect(try await queue.control("HOLD", named).last?["count"] == "1")
        #expect(try await queue.control("BOUNCE", [.init("destination", "three.example")]).last?["count"] == "1")
        let report = try await deliverer.next()
        #expect(report.message.components(separatedBy: "Final-Recipient").count == 2)
        #expect(report.message.contains("Final-Recipient: rfc822; dave@three.example\r\n"))
        report.answer(.ok, "2.0.0")
        // All of that is in the spool.
        await queue.stop()
        try await queue.start()
        #expect(try await queue.list { $0.count == 1 }.first?["state"] == "held")
        #expect(try await queue.control("RELEASE", named).last?["count"] == "1")
        let request = try await relay.next()
        #expect(request.frame.all("recipient") == ["<carol@two.example>"])
        request.answer(.defer, "4.2.2", [.init("text", "still full")])
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        // The last one ends it.
        #expect(try await queue.control("EXPIRE", [.init("reason", "still full")]).last?["count"] == "1")
        let last = try await deliverer.next()
        #expect(last.message.contains("Final-Recipient: rfc822; carol@two.example\r\n"))
        #expect(last.message.contains("still full"))
        last.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// The sender hears of a recipient that has failed, also where the rest is thrown away.
    @Test func whatIsOwedIsToldWhenTheOthersAreRemoved() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start()
        _ = try await queue.submit(to: ["<ann@one.example>", "<bob@two.example>"])
        var busy: DeliveryRequest?
        for _ in 1...2 {
            let request = try await relay.next()
            if request.frame["destination"] == "one.example" {
                request.answer(.reject, "5.1.1")
            } else {
                busy = request
            }
        }
        _ = try await queue.list { $0.first?.all("recipient").count == 1 }
        #expect(try await queue.control("REMOVE", [.init("domain", "two.example")]).last?.replyKind == .ok)
        busy?.answer(.defer, "4.2.2")
        let report = try await deliverer.next()
        #expect(report.message.contains("Final-Recipient: rfc822; ann@one.example\r\n"))
        #expect(!report.message.contains("bob@two.example"))
        report.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    @Test func expiredMessageIsReturnedWithTheLastAnswer() async throws {
        let (queue, relay, _) = try await queue(["one": "the mailbox is full"])
        let deliverer = try await queue.deliverer()
        #expect(try await queue.control("EXPIRE", [.init("sender", "alice@example.test")]).last?["count"] == "1")
        let report = try await deliverer.next()
        #expect(report.message.contains("the mailbox is full"))
        #expect(report.message.contains("Status: 4.4.7"))
        report.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    @Test func reroutedMessageIsTriedAtOnceAndItsAttemptsCountOn() async throws {
        let (queue, relay, _) = try await queue(["one": "no such route"])
        #expect(try await queue.control("REROUTE", [.init("domain", "one.example")]).last?["count"] == "1")
        let request = try await relay.next()
        #expect(request.frame["attempt"] == "2")
        request.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await relay.stop()
    }

    @Test func someAreTriedNow() async throws {
        let (queue, relay, _) = try await queue(["one": "full", "two": "busy"])
        #expect(try await queue.control("FLUSH", [.init("reason", "busy")]).last?["count"] == "1")
        let request = try await relay.next()
        #expect(request.frame["destination"] == "two.example")
        request.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.count == 1 }
        #expect(try await queue.control("FLUSH", [.init("domain", "one.example")]).last?["count"] == "1")
        try await relay.next().answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await relay.stop()
    }

    @Test func showTellsWhatHappened() async throws {
        let (queue, relay, ids) = try await queue(["one": "come back later"])
        let shown = try #require(try await queue.control("SHOW", [.init("id", ids["one"] ?? "")]).last)
        let history = shown.all("history")
        #expect(history.count == 1)
        #expect(history.first?.hasPrefix("1795447200 one@one.example deferred 4.2.2 1 ") == true)
        #expect(history.first?.hasSuffix(" come back later") == true)
        await queue.stop()
        await relay.stop()
    }

    @Test func summaryCountsByDestinationAndReason() async throws {
        let (queue, relay, ids) = try await queue(["one": "full", "two": "full", "three": "busy"])
        _ = try await queue.submit(to: ["<other@one.example>"])
        try await relay.next().answer(.defer, "4.2.2", [.init("text", "full")])
        _ = try await queue.list { $0.count == 4 && $0.allSatisfy { $0["state"] == "deferred" } }
        _ = try await queue.control("HOLD", [.init("id", ids["two"] ?? "")])
        let frames = try await queue.control("SUMMARY")
        let groups = frames.filter { $0.verb == "GROUP" }
        #expect(groups.first?["destination"] == "one.example")
        #expect(groups.first?["messages"] == "2")
        #expect(groups.first?["reason"] == "4.2.2 full")
        #expect(groups.first?["next"] == "1795448200")
        #expect(groups.count == 3)
        #expect(groups.contains { $0["destination"] == "two.example" && $0["reason"] == "held" })
        #expect(frames.last?["count"] == "4")
        #expect(frames.last?["held"] == "1")
        let some = try await queue.control("SUMMARY", [.init("domain", "three.example"), .init("limit", "0")])
        #expect(some.count == 1)
        #expect(some.last?["count"] == "1")
        #expect(some.last?["groups"] == "1")
        await queue.stop()
        await relay.stop()
    }

    // MARK: Pauses

    @Test func pausedMailWaitsOverAKillUntilItsResumed() async throws {
        let queue = try TestQueue()
        var relay = try await queue.relay()
        try await queue.start()
        let pause = [Frame.Field("sender", "alice@example.test"), .init("reason", "stolen password")]
        #expect(try await queue.control("PAUSE", pause).last?.replyKind == .ok)
        _ = try await queue.submit(to: ["<bob@example.net>"])
        _ = try await queue.submit(from: "<carol@example.test>", to: ["<bob@example.net>"])
        let other = try await relay.next()
        #expect(other.frame["sender"] == "<carol@example.test>")
        other.answer(.ok, "2.0.0")
        let waiting = try await queue.list { $0.count == 1 }
        #expect(waiting.first?["paused"] == "paused: stolen password")
        #expect(try await queue.control("LIST", [.init("state", "paused")]).last?["count"] == "1")
        #expect(try await queue.control("FLUSH").last?.replyKind == .ok)
        #expect(try await queue.control("SUMMARY").first?["reason"] == "paused: stolen password")
        await queue.stop()
        await relay.stop()
        relay = try await queue.relay()
        try await queue.start()
        _ = try await queue.list { $0.count == 1 }
        let pauses = try await queue.control("PAUSES")
        #expect(pauses.first?["sender"] == "alice@example.test")
        #expect(pauses.first?["since"] == "1795447200")
        #expect(pauses.last?["count"] == "1")
        #expect(try await queue.control("RESUME", [.init("sender", "bob@example.net")]).last?["status"] == "5.5.0")
        #expect(try await queue.control("RESUME", [.init("sender", "alice@example.test")]).last?.replyKind == .ok)
        try await relay.next().answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        #expect(try await queue.control("PAUSES").last?["count"] == "0")
        await queue.stop()
        await relay.stop()
    }

    @Test func pauseEndsInItsTime() async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        try await queue.start()
        let pause = [Frame.Field("destination", "example.net"), .init("until", "1795447300")]
        #expect(try await queue.control("PAUSE", pause).last?.replyKind == .ok)
        for number in 1...3 { _ = try await queue.submit(to: ["<user\(number)@example.net>"]) }
        _ = try await queue.list { $0.count == 3 && $0.allSatisfy { $0["paused"] == "paused" } }
        await queue.advance(100_000)
        for _ in 1...3 { try await relay.next().answer(.ok, "2.0.0") }
        _ = try await queue.list { $0.isEmpty }
        #expect(try await queue.control("PAUSES").last?["count"] == "0")
        await queue.stop()
        await relay.stop()
    }

    @Test func pauseNamesOneThing() async throws {
        let queue = try TestQueue()
        try await queue.start()
        for fields in [
            [], [.init("sender", "a@example.test"), .init("account", "a@example.test")],
            [.init("sender", "a@example.test"), .init("until", "soon")],
            [.init("sender", "a@example.test"), .init("until", "1795447200")],
        ] as [[Frame.Field]] {
            #expect(try await queue.control("PAUSE", fields).last?["status"] == "5.5.4")
        }
        #expect(try await queue.control("PAUSE", [.init("account", "a@example.test")]).last?.replyKind == .ok)
        #expect(try await queue.control("PAUSE", [.init("sender", "@example.test")]).last?.replyKind == .ok)
        #expect(try await queue.control("RESUME").last?["status"] == "5.5.4")
        #expect(try await queue.control("RESUME", [.init("all", "yes")]).last?["count"] == "2")
        await queue.stop()
    }

    @Test func pausesAreReadAsTheyWereWritten() throws {
        var pauses = Pauses()
        pauses.insert(Pause(.sender(""), since: 5, reason: "100 %\nand more"))
        pauses.insert(Pause(.senderDomain("example.net"), since: 6, until: 1 << 40))
        pauses.insert(Pause(.destination(""), since: 7))
        pauses.insert(Pause(.account("alice"), since: 8, until: 99))
        #expect(Pauses(file: pauses.file) == pauses)
        #expect(Pauses(file: ByteBuffer()) == Pauses())
        var torn = pauses.file
        torn = torn.getSlice(at: 0, length: torn.readableBytes - 1) ?? torn
        #expect(Pauses(file: torn) == nil)
        #expect(Pauses(file: ByteBuffer(string: "LIST\n\n")) == nil)
    }
}
