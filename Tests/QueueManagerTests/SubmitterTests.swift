import Bus
import Daemon
import NIOConcurrencyHelpers
import NIOCore
import Network
import Testing

@testable import QueueManager

#if canImport(Glibc)
import Glibc
#endif

/// Mail of disabled accounts waits, or comes back.
@Suite(.timeLimit(.minutes(2))) struct SubmitterTests {
    /// An authd that knows which accounts are disabled.
    private final class TestAuthority: Sendable {
        let disabled = NIOLockedValueBox<Set<String>>([])
        /// How often it was asked about an account.
        let asked = NIOLockedValueBox(0)
        private let watchers = NIOLockedValueBox<[(connection: Connection, tag: String?)]>([])
        private let server: BusServer

        init(_ queue: TestQueue) async throws {
            server = BusServer(group: queue.loop, logger: queue.logger)
            unlink(queue.path("auth.sock"))
            try await server.answer(on: try UnixSocket.listen(queue.path("auth.sock"))) { [self] frame, connection in
                switch frame.verb {
                case "ACCOUNT":
                    asked.withLockedValue { $0 += 1 }
                    let isDisabled = disabled.withLockedValue { $0.contains(frame["user"] ?? "") }
                    connection.write(Frame.ok(tag: frame["tag"], [.init("disabled", isDisabled ? "yes" : "no")]))
                default:
                    watchers.withLockedValue { $0.append((connection, frame["tag"])) }
                    connection.write(Self.domains(frame["tag"]))
                }
            }
        }

        private static func domains(_ tag: String?) -> Frame {
            var frame = Frame.ok(tag: tag)
            frame.body = ByteBuffer(string: "example.test\n")
            return frame
        }

        func change(_ accounts: Set<String>, on queue: TestQueue) async throws {
            disabled.withLockedValue { $0 = accounts }
            try await queue.loop.submit { [self] in
                for (connection, tag) in watchers.withLockedValue({ $0 }) {
                    connection.write(Self.domains(tag))
                    connection.flushSoon()
                }
            }.get()
        }

        func stop() async { await server.shutDown(grace: .zero) }
    }

    private static let alice = [Frame.Field("user", "alice@example.test"), .init("protocol", "ESMTPSA")]

    private func start(_ queue: TestQueue, _ what: QueueManagerConfiguration.DisabledAccounts) async throws {
        try await queue.start {
            $0.domains = nil
            $0.authoritySocket = queue.path("auth.sock")
            $0.disabledAccounts = what
        }
    }

    @Test func mailWaitsUntilTheAccountIsEnabled() async throws {
        let queue = try TestQueue()
        let authority = try await TestAuthority(queue)
        let relay = try await queue.relay()
        authority.disabled.withLockedValue { $0 = ["alice@example.test"] }
        try await start(queue, .wait)
        for number in 0..<3 { _ = try await queue.submit(to: ["<user\(number)@example.net>"], fields: Self.alice) }
        // Others' goes.
        _ = try await queue.submit(from: "<bob@example.test>", to: ["<x@example.net>"])
        let other = try await relay.next()
        #expect(other.frame["sender"] == "<bob@example.test>")
        other.answer(.ok, "2.0.0")
        let waiting = try await queue.list { $0.count == 3 && $0.allSatisfy { $0["paused"] != nil } }
        #expect(waiting.allSatisfy { $0["paused"] == "paused: the account is disabled" && $0["attempts"] == "0" })
        // A pause that comes and goes lets nothing of it leave, nor does a flush.
        _ = try await queue.control("PAUSE", [.init("destination", "example.net")])
        _ = try await queue.control("RESUME", [.init("destination", "example.net")])
        _ = try await queue.control("FLUSH")
        #expect(try await queue.list { $0.allSatisfy { $0["state"] != "active" } }.count == 3)
        try await authority.change([], on: queue)
        for _ in 0..<3 { try await relay.next().answer(.ok, "2.0.0") }
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await authority.stop()
        await relay.stop()
    }

    @Test func mailIsReturned() async throws {
        let queue = try TestQueue()
        let authority = try await TestAuthority(queue)
        let deliverer = try await queue.deliverer()
        authority.disabled.withLockedValue { $0 = ["alice@example.test"] }
        try await start(queue, .return)
        _ = try await queue.submit(to: ["<x@example.test>"], fields: Self.alice)
        let report = try await deliverer.next()
        #expect(report.frame["recipient"]?.hasPrefix("<alice@example.test>") == true)
        #expect(report.message.contains("Status: 5.7.1"))
        #expect(report.message.contains("disabled"))
        report.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await authority.stop()
        await deliverer.stop()
    }

    /// Who can't be asked about waits, and goes when authd is there again; no attempt is counted.
    @Test func whatIsNotKnownIsTriedAgain() async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        var authority = try await TestAuthority(queue)
        try await start(queue, .wait)
        _ = try await queue.submit(to: ["<first@example.net>"], fields: Self.alice)
        try await relay.next().answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await authority.stop()
        let carol = [Frame.Field("user", "carol@example.test")]
        _ = try await queue.submit(to: ["<second@example.net>"], fields: carol)
        let waiting = try await queue.list { $0.first?["next"] != nil }
        #expect(waiting.first?["attempts"] == "0")
        authority = try await TestAuthority(queue)
        let request = try await relay.next()
        #expect(request.frame["attempt"] == "1")
        request.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await authority.stop()
        await relay.stop()
    }

    @Test func nobodyIsAskedUnlessThatIsWanted() async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        let authority = try await TestAuthority(queue)
        authority.disabled.withLockedValue { $0 = ["alice@example.test"] }
        try await start(queue, .deliver)
        _ = try await queue.submit(to: ["<x@example.net>"], fields: Self.alice)
        try await relay.next().answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        #expect(authority.asked.withLockedValue { $0 } == 0)
        await queue.stop()
        await authority.stop()
        await relay.stop()
    }
}
