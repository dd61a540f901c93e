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
        private let watchers = NIOLockedValueBox<[(connection: Connection, tag: String?)]>([])
        private let server: BusServer

        init(_ queue: TestQueue, _ domains: String...) async throws {
            server = BusServer(group: queue.loop, logger: queue.logger)
            self.domains.withLockedValue { $0 = domains.map { "\($0)\n" }.joined() }
            unlink(queue.path("auth.sock"))
            try await server.answer(on: try UnixSocket.listen(queue.path("auth.sock"))) { [self] frame, connection in
                #expect(frame.verb == "WATCH")
                watchers.withLockedValue { $0.append((connection, frame["tag"])) }
                connection.write(state(frame["tag"]))
            }
        }

        private func state(_ tag: String?) -> Frame {
            var frame = Frame.ok(tag: tag)
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
