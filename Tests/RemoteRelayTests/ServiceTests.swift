import Bus
import Daemon
import Deliverer
import Logging
import NIOCore
import NIOPosix
import Network
import Resolution
import Testing

@testable import RemoteRelay

#if canImport(Glibc)
import Glibc
#endif

/// remote-relay's socket as queue-manager sees it, with a route to a scripted server.
@Suite struct ServiceTests {
    private static let message = "Subject: x\r\n\r\nhello\r\n"

    /// What a test has at hand: connections of queue-manager's, and the host.
    private struct Stage: Sendable {
        let path: String
        let loop: any EventLoop
        let host: ScriptedServer
        let route: [Frame.Field]

        func connect() async throws -> Connection { try await Connection.connect(unix: path, on: loop) }

        func request(_ recipients: [String], tag: String = "7", message: String = ServiceTests.message) -> Frame {
            let fields: [Frame.Field] = [
                .init("tag", tag), .init("id", "1"), .init("octets", "\(ServiceTests.message.utf8.count)"),
                .init("sender", "<a@example.test>"), .init("destination", "example.net"),
            ]
            return Frame(
                "DELIVER",
                fields + route + recipients.map { .init("recipient", $0) },
                body: ByteBuffer(string: message)
            )
        }
    }

    private func run(
        _ script: ScriptedServer.Script,
        on loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next(),
        _ body: @escaping @Sendable (Stage) async throws -> Void
    ) async throws {
        let stage = try await RelayStage(script, on: loop)
        let (relay, host, logger) = (stage.relay, stage.host, stage.logger)
        let server = DeliveryServer(
            group: loop,
            settings: .init(event: "relay", successCounter: "relayed"),
            logger: logger
        ) { await relay.deliver($0) }
        let path = "/tmp/martlet-relay-\(UInt64.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        try await server.accept(on: try UnixSocket.listen(path))
        try await Task(executorPreference: LoopExecutor.of(loop)) {
            try await body(Stage(path: path, loop: loop, host: host, route: stage.route.fields))
            relay.close()
        }.value
        await server.shutDown(grace: .seconds(5))
        await stage.shutDown()
    }

    @Test func everyRecipientIsAnsweredAsSoonAsItsResultIsCertain() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let release = loop.makePromise(of: Void.self)
        let (reached, ended) = (loop.makePromise(of: Void.self), loop.makePromise(of: Void.self))
        var script = ScriptedServer.Script()
        script.replies["RCPT"] = ["250 ok\r\n", "550 5.1.1 100% unknown\r\n"]
        script.hold = .init(verb: ".", reached: reached, release: release.futureResult, ended: ended)
        try await run(script, on: loop) { stage in
            let connection = try await stage.connect()
            defer { connection.close() }
            var parser = FrameParser()
            connection.write(stage.request(["<b@example.net>", "<c@example.net>"]))
            try await connection.flush()
            // The message still waits for its answer.
            let refused = try #require(try await connection.readFrame(&parser))
            release.succeed(())
            let taken = try #require(try await connection.readFrame(&parser))
            #expect([refused.verb, taken.verb] == ["REJECT", "OK"])
            #expect([refused["tag"], taken["tag"]] == ["7", "7"])
            #expect([refused["recipient"], taken["recipient"]] == ["<c@example.net>", "<b@example.net>"])
            #expect([refused["action"], taken["action"]] == ["failed", "relayed"])
            #expect(refused["status"] == "5.1.1")
            #expect(refused["diagnostic"] == "550 5.1.1 100% unknown")
            #expect(refused["remote"]?.hasPrefix("[127.0.0.1]:") == true)
        }
        try await reached.futureResult.get()
        try await ended.futureResult.get()
    }

    @Test func badRequestsAreAnsweredForAll() async throws {
        try await run(ScriptedServer.Script()) { stage in
            let connection = try await stage.connect()
            defer { connection.close() }
            var parser = FrameParser()
            let bad = [
                stage.request([]), stage.request(["<b@example.net>", "nonsense"]),
                stage.request(["<b@example.net>"], message: "short"), Frame("DELIVER", [.init("tag", "7")]),
            ]
            for frame in bad {
                connection.write(frame)
                try await connection.flush()
                let reply = try #require(try await connection.readFrame(&parser))
                #expect(reply.verb == "DEFER")
                #expect(reply["tag"] == "7")
                #expect(reply["recipient"] == nil)
            }
            connection.write(Frame("DANCE", [.init("tag", "8")]))
            try await connection.flush()
            let reply = try #require(try await connection.readFrame(&parser))
            #expect(reply.verb == "REJECT")
            #expect(reply["tag"] == nil)
            #expect(stage.host.connections == 0)
        }
    }

    /// Once another connection was answered, the end of the one before has been seen.
    private static func settle(_ stage: Stage) async throws {
        let other = try await stage.connect()
        defer { other.close() }
        var parser = FrameParser()
        other.write(Frame("DANCE", [.init("tag", "1")]))
        try await other.flush()
        _ = try await other.readFrame(&parser)
    }

    @Test func resultOfAWholeMessageIsToldAtTheEnd() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let reached = loop.makePromise(of: Void.self)
        let release = loop.makePromise(of: Void.self)
        let ended = loop.makePromise(of: Void.self)
        var script = ScriptedServer.Script()
        script.hold = .init(verb: ".", reached: reached, release: release.futureResult, ended: ended)
        try await run(script, on: loop) { stage in
            let connection = try await stage.connect()
            defer { connection.close() }
            connection.write(stage.request(["<b@example.net>"]))
            try await connection.flush()
            try await reached.futureResult.get()
            // As at the daemon's end, no more requests come, and answers can still be read.
            try await connection.channel.close(mode: .output).get()
            try await Self.settle(stage)
            release.succeed(())
            var parser = FrameParser()
            let reply = try await connection.readFrame(&parser)
            #expect(reply?.verb == "OK")
        }
        try await ended.futureResult.get()
    }

    @Test func messageThatNobodyWaitsForIsNotEnded() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let reached = loop.makePromise(of: Void.self)
        let release = loop.makePromise(of: Void.self)
        let ended = loop.makePromise(of: Void.self)
        var script = ScriptedServer.Script()
        script.hold = .init(verb: "DATA", reached: reached, release: release.futureResult, ended: ended)
        try await run(script, on: loop) { stage in
            let connection = try await stage.connect()
            connection.write(stage.request(["<b@example.net>"]))
            try await connection.flush()
            try await reached.futureResult.get()
            connection.abort()
            try await Self.settle(stage)
            release.succeed(())
            try await ended.futureResult.get()
            #expect(stage.host.messages.isEmpty)
            #expect(stage.host.connections == 1)
        }
    }
}
