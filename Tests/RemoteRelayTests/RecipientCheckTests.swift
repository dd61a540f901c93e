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
    ///
    /// - Parameter clients: who wants to send to each of them; all is asked at once then.
    private func ask(
        _ recipients: [String],
        for clients: [String] = [],
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
            @Sendable func answer(_ recipient: String, for asker: String? = nil) async throws -> String {
                let route = recipient.hasSuffix("@example.net") ? stage.route.fields : []
                var question = Frame("CHECK", [.init("recipient", recipient)] + route)
                question["client"] = asker
                let reply = try await client.request(question)
                return "\(reply.verb) \(reply["status"] ?? "")"
            }
            guard !clients.isEmpty else {
                var answers: [String] = []
                for recipient in recipients { answers.append(try await answer(recipient)) }
                return answers
            }
            return try await withThrowingTaskGroup(of: (Int, String).self) { group in
                for (place, recipient) in recipients.enumerated() {
                    group.addTask { (place, try await answer(recipient, for: clients[place])) }
                }
                return try await group.reduce(into: [(Int, String)]()) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
            }
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

    /// One client has a part of all questions, and another one its own.
    @Test func eachClientHasItsShare() async throws {
        let recipients = (0...11).map { "a\($0)@example.net" }
        let clients = [String](repeating: "192.0.2.7", count: 11) + ["192.0.2.8"]
        let answers = try await ask(recipients, for: clients).answers
        #expect(answers.prefix(11).count { $0 == "OK 2.1.5" } == 10)
        #expect(answers.prefix(11).count { $0 == "DEFER 4.5.0" } == 1)
        #expect(answers.last == "OK 2.1.5")
    }

    /// What is said of us holds for a whole domain, and for the moment.
    @Test func onlyWhatIsAboutTheMailboxIsFinal() async throws {
        let replies = [
            ("554 5.7.1 client blocked", "DEFER 4.4.1"), ("550 5.7.1 blocked", "DEFER 4.4.1"),
            ("554 no", "DEFER 4.4.1"),
            ("550 5.4.1 Recipient address rejected: Access denied", "REJECT 5.4.1"), ("554 5.4.1 later", "DEFER 4.4.1"),
            ("501 5.1.7 bad sender", "DEFER 4.4.1"), ("550 5.1.10 null MX", "REJECT 5.1.10"),
            ("552 5.2.2 full", "REJECT 5.2.2"), ("550 no such user", "REJECT 5.0.0"), ("551 moved", "REJECT 5.0.0"),
            ("553 no", "REJECT 5.0.0"), ("552 no", "DEFER 4.4.1"), ("503 5.5.1 what", "DEFER 4.4.1"),
        ]
        let answers = try await ask(replies.indices.map { "a\($0)@example.net" }) {
            $0.replies["RCPT"] = replies.map { "\($0.0)\r\n" }
        }.answers
        #expect(answers == replies.map(\.1))
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
