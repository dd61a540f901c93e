import NIOCore
import NIOPosix
import SMTP
import Testing

@testable import RemoteRelay

/// What becomes of mail where the other side has trouble: the same in clear text and under TLS.
@Suite struct TroubleTests {
    private static let authority = try? TestAuthority()
    private let tests = DeliveryTests()

    /// A host that follows a script, behind STARTTLS where it's to be so.
    private func host(
        _ encrypted: Bool,
        _ changes: [String: [String]],
        pipelining: Bool = false
    ) throws -> ScriptedServer.Script {
        var script = tests.script(changes)
        let lines = ["sink"] + (encrypted ? ["STARTTLS"] : []) + (pipelining ? ["PIPELINING"] : [])
        script.replies["EHLO"] = [
            lines.enumerated().map { "250\($0 == lines.count - 1 ? " " : "-")\($1)\r\n" }.joined()
        ]
        if encrypted {
            script.replies["STARTTLS"] = ["220 go\r\n"]
            script.tls = try #require(Self.authority).server(.good)
        }
        return script
    }

    /// Whether the session was what it was to be.
    private func expect(_ encrypted: Bool, _ results: [DeliveryResult]) {
        #expect(results.allSatisfy { ($0.security?.version != nil) == encrypted })
    }

    @Test(arguments: [false, true], ["MAIL", "RCPT", "DATA", "."])
    func connectionIsLost(_ encrypted: Bool, _ verb: String) async throws {
        // With what ends TLS (RFC 8446 §6.1), and without.
        for isAborted in [false, true] {
            var script = try host(encrypted, [verb: [""]])
            script.aborts = isAborted
            let (results, servers) = try await tests.deliver([script, try host(encrypted, [:])])
            // After the dot, the host may have taken it.
            let isOver = verb == "."
            #expect(results.map(\.action) == [isOver ? .delayed : .relayed])
            #expect(results.map(\.status.description) == [isOver ? "4.4.2" : "2.0.0"])
            #expect(servers[1].messages.count == (isOver ? 0 : 1))
            expect(encrypted, results)
        }
    }

    @Test(arguments: [false, true]) func hostIsSilent(_ encrypted: Bool) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let release = loop.makePromise(of: Void.self)
        var script = try host(encrypted, [:])
        script.hold = ScriptedServer.Hold(
            verb: "RCPT",
            reached: loop.makePromise(),
            release: release.futureResult,
            ended: loop.makePromise()
        )
        let (results, servers) = try await tests.deliver(
            [script, try host(encrypted, [:])],
            settings: "command-timeout = \"3s\""
        )
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].messages.isEmpty && servers[1].messages.count == 1)
        expect(encrypted, results)
        release.succeed(())
    }

    @Test(arguments: [false, true], ["MAIL", "RCPT", "DATA"])
    func hostIsAboutToClose(_ encrypted: Bool, _ verb: String) async throws {
        let closing = try host(encrypted, [verb: ["421 4.3.2 going down\r\n"]])
        let (results, servers) = try await tests.deliver([closing, try host(encrypted, [:])])
        #expect(results.map(\.action) == [.relayed])
        #expect(servers.map(\.messages.count) == [0, 1])
        expect(encrypted, results)
        let (alone, _) = try await tests.deliver([closing])
        #expect(alone.map(\.status.description) == ["4.3.2"])
        #expect(alone.map(\.scope) == [.session])
    }

    @Test(arguments: [false, true]) func repliesHaveNoEnd(_ encrypted: Bool) async throws {
        for reply in [
            String(repeating: "250-more\r\n", count: 20_000), "250 " + String(repeating: "x", count: 100_000),
        ] {
            let (results, servers) = try await tests.deliver([
                try host(encrypted, ["RCPT": [reply]]), try host(encrypted, [:]),
            ])
            #expect(results.map(\.action) == [.relayed])
            #expect(servers.map(\.messages.count) == [0, 1])
            expect(encrypted, results)
        }
    }

    @Test(arguments: [false, true]) func replyIsNonsense(_ encrypted: Bool) async throws {
        let (results, servers) = try await tests.deliver([
            try host(encrypted, ["MAIL": ["hello\r\n"]]), try host(encrypted, [:]),
        ])
        #expect(results.map(\.action) == [.relayed])
        #expect(servers.map(\.messages.count) == [0, 1])
        expect(encrypted, results)
    }

    @Test(arguments: [false, true]) func keptConnectionHasDied(_ encrypted: Bool) async throws {
        for reply in ["", "421 enough\r\n"] {
            let (results, servers) = try await tests.deliver(
                [try host(encrypted, ["MAIL": ["250 ok\r\n", reply, "250 ok\r\n"]])],
                times: 2
            )
            #expect(results.map(\.action) == [.relayed])
            #expect(servers[0].messages.count == 2 && servers[0].connections == 2)
            expect(encrypted, results)
        }
    }

    @Test(arguments: [false, true]) func whatIsPipelinedIsLost(_ encrypted: Bool) async throws {
        var script = try host(encrypted, [:], pipelining: true)
        script.losesPipelines = true
        let (results, servers) = try await tests.deliver([script], times: 2)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].messages.count == 1)
        expect(encrypted, results)
    }

    /// A line that comes up late has the message go again, in other lines.
    @Test(arguments: [false, true]) func messageHasALongLine(_ encrypted: Bool) async throws {
        let message =
            "Subject: x\r\n\r\n" + String(repeating: "short\r\n", count: 20_000)
            + String(repeating: "0123456789", count: 500) + "\r\n"
        let (results, servers) = try await tests.deliver([try host(encrypted, [:])], message: message, inPieces: true)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].messages.count == 1 && servers[0].connections == 2)
        expect(encrypted, results)
    }
}
