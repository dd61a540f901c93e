import Bus
import Daemon
import Logging
import NIOCore
import NIOPosix
import Network
import Resolution
import SMTP
import Testing

@testable import RemoteRelay

#if canImport(Glibc)
import Glibc
#endif

/// remote-relay's socket for questions about recipients, with a route to a scripted server.
@Suite struct RecipientCheckTests {
    /// What is answered to questions about recipients at example.net, one after the other, and what the host was told.
    private func ask(
        _ recipients: [String],
        _ change: (inout ScriptedServer.Script) -> Void = { _ in }
    ) async throws -> (answers: [String], commands: [String], connections: Int) {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        var script = ScriptedServer.Script()
        change(&script)
        let stage = try await RelayStage(script, on: loop)
        let (relay, host, logger) = (stage.relay, stage.host, stage.logger)
        let service = RecipientCheckService(relay, on: loop, logger: logger)
        let server = BusServer(group: loop, logger: logger)
        let path = "/tmp/martlet-check-\(UInt64.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        try await server.answer(on: try UnixSocket.listen(path)) { service.answer($0, $1) }
        let answers = try await Task(executorPreference: LoopExecutor.of(loop)) {
            let client = BusClient(path: path, on: loop, timeout: .seconds(20))
            defer {
                client.close()
                relay.close()
            }
            var answers: [String] = []
            for recipient in recipients {
                let route = recipient.hasSuffix("@example.net") ? stage.route.fields : []
                let reply = try await client.request(Frame("CHECK", [.init("recipient", recipient)] + route))
                answers.append("\(reply.verb) \(reply["status"] ?? "")")
            }
            return answers
        }.value
        await server.shutDown(grace: .seconds(1))
        await stage.shutDown()
        return (answers, host.commands, host.connections)
    }

    @Test func nextHopDecides() async throws {
        let (answers, commands, connections) = try await ask(
            ["a@example.net", "b@example.net", "c@example.net", "not an address"]
        ) {
            $0.replies["RCPT"] = ["250 ok\r\n", "550 5.1.1 unknown\r\n", "450 4.2.0 later\r\n"]
        }
        #expect(answers == ["OK 2.1.5", "REJECT 5.1.1", "DEFER 4.2.0", "REJECT 5.5.2"])
        #expect(commands.filter { $0.hasPrefix("MAIL") } == [String](repeating: "MAIL FROM:<>", count: 3))
        #expect(commands.contains("RCPT TO:<b@example.net>") && !commands.contains("DATA"))
        // The session is kept for the next question.
        #expect(connections == 1)
    }

    @Test func whatIsNotAboutTheRecipientIsNoRefusal() async throws {
        let unwilling = try await ask(["a@example.net"]) { $0.greeting = "554 5.7.1 go away\r\n" }
        #expect(unwilling.answers.first?.hasPrefix("DEFER") == true)
        let silent = try await ask(["a@example.net"]) { $0.greeting = "" }
        #expect(silent.answers.first?.hasPrefix("DEFER 4.4.") == true)
        let noReports = try await ask(["a@example.net"]) { $0.replies["MAIL"] = ["550 5.7.1 no reports\r\n"] }
        #expect(noReports.answers == ["DEFER 4.4.1"])
        let nowhere = try await ask(["a@nowhere.example"])
        #expect(nowhere.answers.first?.hasPrefix("DEFER") == true)
    }
}
