import Bus
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

        func connect() async throws -> Connection { try await Connection.connect(unix: path, on: loop) }

        func request(_ recipients: [String], tag: String = "7", file: String = "aa/1") -> Frame {
            let fields: [Frame.Field] = [
                .init("tag", tag), .init("id", "1"), .init("file", file), .init("offset", "0"),
                .init("octets", "\(ServiceTests.message.utf8.count)"), .init("sender", "<a@example.test>"),
                .init("destination", "example.net"),
            ]
            return Frame("DELIVER", fields + recipients.map { .init("recipient", $0) })
        }
    }

    private func run(
        _ script: ScriptedServer.Script,
        on loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next(),
        _ body: @escaping @Sendable (Stage) async throws -> Void
    ) async throws {
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let host = ScriptedServer(script)
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        let listener = Listener(group: loop)
        try await listener.accept(on: socket) { await host.serve($0) }

        let directory = "/tmp/martlet-relay-\(UInt64.random(in: 0 ... .max))"
        mkdir(directory, 0o700)
        mkdir("\(directory)/aa", 0o700)
        defer { system("rm -rf \(directory)") }
        let descriptor = open("\(directory)/aa/1", O_WRONLY | O_CREAT, 0o600)
        _ = write(descriptor, Self.message, Self.message.utf8.count)
        close(descriptor)
        let queue = open(directory, O_RDONLY | O_DIRECTORY)
        defer { close(queue) }

        let settings = try testSettings(routes: "\"example.net\" = \"127.0.0.1:\(port)\"")
        let lookup = HostLookup(settings: settings, logger: logger) { (_, _) async throws(ResolutionError) in
            throw .unavailable("no DNS here")
        }
        let relay = Relay(settings: settings, lookup: lookup, tls: nil, pool: .singleton, loop: loop)
        let service = RelayService(relay: relay, queue: queue, logger: logger)
        let server = BusServer(group: loop, logger: logger)
        let path = "\(directory)/relay.sock"
        try await server.accept(on: try UnixSocket.listen(path)) { await service.serve($0) }
        try await Task(executorPreference: LoopExecutor.of(loop)) {
            try await body(Stage(path: path, loop: loop, host: host))
            relay.close()
        }.value
        await server.shutDown(grace: .seconds(5))
        await listener.shutDown(grace: .seconds(5))
    }

    @Test func everyRecipientIsAnswered() async throws {
        var script = ScriptedServer.Script()
        script.replies["RCPT"] = ["250 ok\r\n", "550 5.1.1 100% unknown\r\n"]
        try await run(script) { stage in
            let connection = try await stage.connect()
            defer { connection.close() }
            var parser = FrameParser()
            connection.write(stage.request(["<b@example.net>", "<c@example.net>"]))
            try await connection.flush()
            let first = try #require(try await connection.readFrame(&parser))
            let second = try #require(try await connection.readFrame(&parser))
            #expect([first.verb, second.verb] == ["OK", "REJECT"])
            #expect([first["tag"], second["tag"]] == ["7", "7"])
            #expect([first["recipient"], second["recipient"]] == ["<b@example.net>", "<c@example.net>"])
            #expect(second["status"] == "5.1.1")
            #expect(second["diagnostic"] == "550 5.1.1 100% unknown")
            #expect(second["remote"]?.hasPrefix("127.0.0.1 [127.0.0.1]:") == true)
        }
    }

    @Test func badRequestsAreAnsweredForAll() async throws {
        try await run(ScriptedServer.Script()) { stage in
            let connection = try await stage.connect()
            defer { connection.close() }
            var parser = FrameParser()
            let bad = [
                stage.request([]), stage.request(["<b@example.net>", "nonsense"]),
                stage.request(["<b@example.net>"], file: "../../etc/passwd"),
                stage.request(["<b@example.net>"], file: "aa/2"), Frame("DELIVER", [.init("tag", "7")]),
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
            #expect(reply["tag"] == "8")
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
