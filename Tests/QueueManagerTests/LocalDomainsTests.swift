import Bus
import NIOConcurrencyHelpers
import NIOCore
import Network
import Testing

@testable import QueueManager

#if canImport(Glibc)
import Glibc
#endif

/// Which domains are ours is authd's to say, also while queue-manager runs.
@Suite(.timeLimit(.minutes(1))) struct LocalDomainsTests {
    /// An authd that tells whoever watches it what the test says.
    private final class TestAuthority: Sendable {
        private let domains = NIOLockedValueBox<String>("")
        /// What is answered to `ROUTE`; with nil, the connection ends.
        private let route = NIOLockedValueBox<Frame?>(nil)
        /// Likewise to `EXPAND`.
        let expansion = NIOLockedValueBox<Frame?>(nil)
        private let kinds = NIOLockedValueBox<[String]>([])
        let questions = NIOLockedValueBox<[Frame]>([])
        private let watchers = NIOLockedValueBox<[(connection: Connection, tag: String?)]>([])
        private let server: BusServer

        init(_ queue: TestQueue, _ domains: String...) async throws {
            server = BusServer(group: queue.loop, logger: queue.logger)
            self.domains.withLockedValue { $0 = domains.map { "\($0)\n" }.joined() }
            unlink(queue.path("auth.sock"))
            try await server.answer(on: try UnixSocket.listen(queue.path("auth.sock"))) { [self] frame, connection in
                if frame.verb == "ROUTE" {
                    questions.withLockedValue { $0.append(frame) }
                    guard var answer = route.withLockedValue({ $0 }) else { return connection.close() }
                    answer["tag"] = frame["tag"]
                    return connection.write(answer)
                }
                if frame.verb == "EXPAND" {
                    questions.withLockedValue { $0.append(frame) }
                    guard var answer = expansion.withLockedValue({ $0 }) else { return connection.close() }
                    answer["tag"] = frame["tag"]
                    return connection.write(answer)
                }
                #expect(frame.verb == "WATCH")
                watchers.withLockedValue { $0.append((connection, frame["tag"])) }
                connection.write(state(frame["tag"]))
            }
        }

        private func state(_ tag: String?) -> Frame {
            var frame = Frame.ok(tag: tag)
            frame.fields += kinds.withLockedValue { $0 }.map { .init("routes-by", $0) }
            frame.body = ByteBuffer(string: domains.withLockedValue { $0 })
            return frame
        }

        func change(_ domains: String..., on queue: TestQueue) async throws {
            self.domains.withLockedValue { $0 = domains.map { "\($0)\n" }.joined() }
            try await queue.loop.submit { [self] in
                for (connection, tag) in watchers.withLockedValue({ $0 }) {
                    connection.write(state(tag))
                    connection.flushSoon()
                }
            }.get()
        }

        /// Says so to watchers, too.
        func route(by kinds: [String], _ answer: Frame?, on queue: TestQueue) async throws {
            self.kinds.withLockedValue { $0 = kinds }
            route.withLockedValue { $0 = answer }
            try await change("example.test", on: queue)
        }

        func stop() async { await server.shutDown(grace: .zero) }
    }

    private func start(_ queue: TestQueue) async throws {
        try await queue.start {
            $0.domains = nil
            $0.authoritySocket = queue.path("auth.sock")
        }
    }

    private func destinations(_ queue: TestQueue) async throws -> [String] {
        try await queue.control("STATISTICS").compactMap { $0.verb == "DESTINATION" ? $0["name"] : nil }.sorted()
    }

    /// What isn't known is tried again: mail is taken, and goes on when authd is there.
    @Test func mailWaitsForAuthd() async throws {
        let queue = try TestQueue()
        let (local, relay) = (try await queue.deliverer(), try await queue.relay())
        try await start(queue)
        let to = ["<bob@example.test>", "<carol@Example.net>", "<dave@other.test>"]
        #expect(try await queue.submit(to: to).replyKind == .ok)
        #expect(try await queue.list().map { $0["state"] } == ["queued"])
        #expect(try await destinations(queue) == ["?"])
        let authority = try await TestAuthority(queue, "example.test", "other.test")
        let delivery = try await local.next()
        #expect(delivery.frame.all("recipient") == ["<bob@example.test>", "<dave@other.test>"])
        #expect(delivery.frame["attempt"] == "1")
        #expect(try await relay.next().frame.all("recipient") == ["<carol@Example.net>"])
        await queue.stop()
        await authority.stop()
    }

    /// After a restart messages keep their attempts and times, whoever is there first.
    @Test func whatWaitedBeforeARestartKeepsItsTime() async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        let first = try await TestAuthority(queue, "example.test")
        try await start(queue)
        #expect(try await queue.submit(to: ["<carol@example.net>"]).replyKind == .ok)
        try await relay.next().answer(.defer, "4.4.1")
        let before = try await queue.list { $0.first?["state"] == "deferred" }
        await queue.stop()
        await first.stop()
        try await start(queue)
        _ = try await queue.list { $0.count == 1 }
        let second = try await TestAuthority(queue, "example.test")
        while try await destinations(queue) != ["example.net"] { await Task.yield() }
        let after = try await queue.list()
        #expect(after.first?["next"] == before.first?["next"] && after.first?["attempts"] == "1")
        await queue.stop()
        await second.stop()
    }

    /// A domain that becomes ours has its mail delivered here, and one that no longer is has it sent on.
    @Test func mailFollowsTheDomains() async throws {
        let queue = try TestQueue()
        let (local, relay) = (try await queue.deliverer(), try await queue.relay())
        let authority = try await TestAuthority(queue, "example.test")
        try await start(queue)
        #expect(try await queue.submit(to: ["<carol@new.test>"]).replyKind == .ok)
        try await relay.next().answer(.defer, "4.4.1")
        #expect(try await queue.submit(to: ["<bob@example.test>"]).replyKind == .ok)
        let busy = try await local.next()
        _ = try await queue.list { $0.contains { $0["state"] == "deferred" } }
        try await authority.change("new.test", on: queue)
        #expect(try await local.next().frame.all("recipient") == ["<carol@new.test>"])
        // What is with a deliverer is worked out anew when it comes back.
        busy.answer(.defer, "4.3.0", [.init("text", "example.test is no domain of ours now")])
        #expect(try await relay.next().frame.all("recipient") == ["<bob@example.test>"])
        await queue.stop()
        await authority.stop()
    }

    /// A route that is mended counts at the next attempt, without a restart of anything.
    @Test func mailFollowsItsRoute() async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        let authority = try await TestAuthority(queue, "example.test")
        try await start(queue)
        #expect(try await queue.submit(to: ["<bob@example.net>"]).replyKind == .ok)
        // Where there are no routes, nobody is asked.
        try await relay.next().answer(.ok, "2.0.0")
        #expect(authority.questions.withLockedValue { $0.isEmpty })
        func answer(_ host: String) -> Frame { .ok([.init("route", "relay"), .init("route-host", host)]) }
        try await authority.route(by: ["sender", "destination"], answer("wrong.test:25"), on: queue)
        #expect(try await queue.submit(to: ["<bob@example.net>"]).replyKind == .ok)
        let first = try await relay.next()
        #expect(first.frame.all("route-host") == ["wrong.test:25"])
        first.answer(.defer, "4.4.1")
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        // The answer is kept for others of this sender there.
        #expect(try await queue.submit(to: ["<carol@example.net>"]).replyKind == .ok)
        try await relay.next().answer(.ok, "2.0.0")
        let asked = authority.questions.withLockedValue { $0 }
        #expect(asked.map { $0["sender"] } == ["alice@example.test"] && asked[0]["destination"] == "example.net")
        try await authority.route(by: ["destination"], answer("right.test:26"), on: queue)
        _ = try await queue.control("FLUSH")
        let second = try await relay.next()
        #expect(second.frame.all("route-host") == ["right.test:26"] && second.frame["attempt"] == "2")
        #expect(authority.questions.withLockedValue { $0.last?["sender"] } == nil)
        second.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await authority.stop()
    }

    private func expanded(to recipients: [String], _ queue: TestQueue) async throws -> String {
        let fields: [Frame.Field] = [
            .init("expanded", "yes"), .init("expanded-from", "al@example.test"), .init("origin", "1"),
        ]
        return try #require(try await queue.submit(to: recipients, fields: fields)["id"])
    }

    /// An alias that is mended counts once the administrator says so: who has the message doesn't get it again.
    @Test func mailFollowsItsAlias() async throws {
        let queue = try TestQueue()
        let (local, relay) = (try await queue.deliverer(), try await queue.relay())
        let authority = try await TestAuthority(queue, "example.test")
        try await start(queue)
        let id = try await expanded(to: ["<bob@example.test>", "<al@gmial.example> NOTIFY=FAILURE"], queue)
        try await local.next().answer(.ok, "2.0.0")
        let dead = [Frame.Field("scope", "destination"), .init("text", "no such host")]
        try await relay.next().answer(.defer, "4.4.1", dead)
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        let named = [Frame.Field("id", id)]
        // authd has no answer: that changes nothing.
        #expect(try await queue.control("REROUTE", named).last?.replyKind == .defer)
        #expect(try await queue.list().first?.all("recipient").joined().contains("gmial.example") == true)
        // Nor does an alias that is gone, but the old address is tried.
        authority.expansion.withLockedValue { $0 = .reply(.reject, status: "5.1.1", text: "no such address") }
        #expect(try await queue.control("REROUTE", named).last?["count"] == "1")
        let still = try await relay.next()
        #expect(still.frame.all("recipient") == ["<al@gmial.example> NOTIFY=FAILURE"])
        still.answer(.defer, "4.4.1", dead)
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        let targets = ["bob@example.test", "al@gmail.example", "carol@example.test"]
        authority.expansion.withLockedValue { $0 = .ok(targets.map { .init("forward", $0) }) }
        #expect(try await queue.control("REROUTE", named).last?["count"] == "1")
        #expect(authority.questions.withLockedValue { $0.last?["address"] } == "al@example.test")
        let mended = try await relay.next()
        #expect(mended.frame.all("recipient") == ["<al@gmail.example> NOTIFY=FAILURE"])
        #expect(mended.frame["destination"] == "gmail.example" && mended.frame["attempt"] == "1")
        let own = try await local.next()
        #expect(own.frame.all("recipient") == ["<carol@example.test> NOTIFY=FAILURE"])
        mended.answer(.defer, "4.2.0")
        own.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.first?["state"] == "deferred" && $0.first?.all("recipient").count == 1 }
        #expect(try await queue.control("LIST", [.init("recipient", "al@gmail.example")]).count == 2)
        // Again, and after a start: it's the same message, whose recipients are known.
        #expect(try await queue.control("REROUTE", named).last?["count"] == "1")
        try await relay.next().answer(.defer, "4.2.0")
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        await queue.stop()
        try await start(queue)
        _ = try await queue.list { $0.count == 1 && $0.first?["state"] == "deferred" }
        _ = try await queue.control("FLUSH")
        let last = try await relay.next()
        #expect(last.frame.all("recipient") == ["<al@gmail.example> NOTIFY=FAILURE"])
        last.answer(.ok, "2.0.0", [.init("dsn", "yes")])
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await authority.stop()
    }

    /// All that the alias leads to now have the message: it's done.
    @Test func aliasThatLostItsDeadAddressEndsTheMessage() async throws {
        let queue = try TestQueue()
        let (local, relay) = (try await queue.deliverer(), try await queue.relay())
        let authority = try await TestAuthority(queue, "example.test")
        try await start(queue)
        let id = try await expanded(to: ["<bob@example.test>", "<al@gmial.example>"], queue)
        try await local.next().answer(.ok, "2.0.0")
        try await relay.next().answer(.defer, "4.4.1")
        _ = try await queue.list { $0.first?["state"] == "deferred" && $0.first?.all("recipient").count == 1 }
        authority.expansion.withLockedValue { $0 = .ok([.init("forward", "bob@example.test")]) }
        #expect(try await queue.control("REROUTE", [.init("id", id)]).last?["count"] == "1")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await authority.stop()
    }

    @Test func internationalDomainIsOneDestination() {
        let domains = LocalDomains(known: ["m\u{FC}ller.test"])
        #expect(domains.destination(of: "b\u{FC}cher.example") == "xn--bcher-kva.example")
        #expect(domains.destination(of: "xn--bcher-kva.example") == "xn--bcher-kva.example")
        #expect(domains.destination(of: "xn--mller-kva.test") == "")
        #expect(domains.destination(of: "m\u{FC}ller.test") == "")
    }

    /// What isn't known is tried again within seconds, and no attempt is counted; a name that means nothing now is tried again, too.
    @Test func mailWaitsForItsRoute() async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        let authority = try await TestAuthority(queue, "example.test")
        try await start(queue)
        // The queue has heard of routes when it knows the domain that came with them.
        let nothing = Frame.reply(.defer, status: "4.4.4", text: "there is no route named spare now")
        let end = Frame("END", [.init("route", "spare")])
        func submit() async throws {
            var frame = Frame(
                "SUBMIT",
                ["sender": "<a@example.test>", "recipient": "<bob@example.net>", "protocol": "ESMTP"]
            )
            frame.body = ByteBuffer(string: "Subject: x\r\n\r\nx\r\n")
            #expect(try await queue.exchange([frame, end]).replyKind == .ok)
        }
        try await submit()
        while authority.questions.withLockedValue({ $0.isEmpty }) { await Task.yield() }
        let waiting = try await queue.list()
        #expect(waiting.map { $0["attempts"] ?? "0" } == ["0"])
        try await authority.route(by: [], nothing, on: queue)
        await queue.advance(10_000)
        let deferred = try await queue.list { $0.first?["state"] == "deferred" }
        #expect(deferred.first?["attempts"] == "1")
        try await authority.route(by: [], .ok([.init("route", "discard")]), on: queue)
        _ = try await queue.control("FLUSH")
        let request = try await relay.next()
        #expect(request.frame["route"] == "discard")
        #expect(authority.questions.withLockedValue { $0.allSatisfy { $0["name"] == "spare" } })
        request.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await authority.stop()
    }

    /// What an alias led to is known as such to whoever delivers it, also after a restart. Only our own daemons say so.
    @Test func expandedRecipientsStayExpanded() async throws {
        let queue = try TestQueue()
        try await queue.start()
        let expanded = [Frame.Field("expanded", "yes"), .init("protocol", "ESMTP")]
        #expect(try await queue.submit(to: ["<bob@example.test>"], fields: expanded).replyKind == .ok)
        await queue.stop()
        let local = try await queue.deliverer()
        try await queue.start { $0.trusted = [] }
        let first = try await local.next()
        #expect(first.frame["expanded"] == "yes")
        first.answer(.ok, "2.0.0")
        #expect(try await queue.submit(to: ["<bob@example.test>"], fields: expanded).replyKind == .ok)
        #expect(try await local.next().frame["expanded"] == nil)
        await queue.stop()
    }

    /// Whose mail of our own a message is, deliverers hear, also after a restart; of a stranger's, and from whoever may not say it,
    /// nothing.
    @Test func submittersAreKnown() async throws {
        let queue = try TestQueue()
        let kinds: [([Frame.Field], String?)] = [
            ([.init("protocol", "ESMTP")], nil),
            ([.init("protocol", "ESMTPSA"), .init("user", "a@example.test")], "account"),
            ([], "program"), ([.init("origin", "k1")], nil),
            ([.init("origin", "k2"), .init("submitter", "account")], "account"),
            ([.init("origin", "k3"), .init("submitter", "x")], nil),
        ]
        try await queue.start()
        for (fields, _) in kinds {
            #expect(try await queue.submit(to: ["<bob@example.test>"], fields: fields).replyKind == .ok)
        }
        await queue.stop()
        let local = try await queue.deliverer()
        try await queue.start { $0.trusted = [] }
        var heard: [String?] = []
        for _ in kinds {
            let request = try await local.next()
            heard.append(request.frame["submitter"])
            request.answer(.ok, "2.0.0")
        }
        #expect(heard.map { $0 ?? "" }.sorted() == kinds.map { $0.1 ?? "" }.sorted())
        let claim = [Frame.Field("origin", "k4"), .init("submitter", "account"), .init("user", "a@example.test")]
        #expect(try await queue.submit(to: ["<bob@example.test>"], fields: claim).replyKind == .ok)
        #expect(try await local.next().frame["submitter"] == "program")
        await queue.stop()
    }

    /// authd that went away has said enough for now.
    @Test func theFormerListStaysWhileAuthdIsAway() async throws {
        let queue = try TestQueue()
        let local = try await queue.deliverer()
        let authority = try await TestAuthority(queue, "example.test")
        try await start(queue)
        #expect(try await queue.submit(to: ["<bob@example.test>"]).replyKind == .ok)
        try await local.next().answer(.ok, "2.0.0")
        await authority.stop()
        #expect(try await queue.submit(to: ["<bob@example.test>"]).replyKind == .ok)
        try await local.next().answer(.ok, "2.0.0")
        await queue.stop()
    }
}
