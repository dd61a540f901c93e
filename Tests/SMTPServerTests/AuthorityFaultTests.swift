import Bus
import Front
import NIOCore
import Network
import SMTP
import Testing

@testable import SMTPServer

/// authd hangs, dies or says what nobody understands: mail is deferred, sessions go on, and nobody has to help afterwards.
@Suite struct AuthorityFaultTests {
    enum Fault: CaseIterable, Sendable {
        case hangs, hangsUp, noFrame, answersOthers, saysNothingThatCounts, neverEnds

        /// Does to a question what it does.
        func answer(_ connection: Connection) async throws {
            switch self {
            case .hangs: try await connection.eventLoop.scheduleTask(in: .seconds(1)) {}.futureResult.get()
            case .hangsUp: break
            case .noFrame: write("\u{FF}\0 : \r\n", to: connection)
            case .answersOthers: write("OK\ntag: 4711\nkind: local\n\n", to: connection)
            case .saysNothingThatCounts:
                for tag in 0..<9 { write("OK\ntag: \(tag)\nkind: perhaps\n\n", to: connection) }
            case .neverEnds: write("OK\nsize: 99999999999999999999\n\n", to: connection)
            }
            try await connection.flush()
        }

        private func write(_ text: String, to connection: Connection) {
            connection.write(with: { $0.writeString(text) })
        }
    }

    @Test(arguments: Fault.allCases)
    func mailIsDeferred(_ fault: Fault) async throws {
        try await TestServer.run({
            $0.hasAuthority = false
            $0.settings.front.authorityTimeout = .milliseconds(200)
        }) { server in
            let faulty = Listener(group: server.loop)
            try await faulty.accept(on: try UnixSocket.listen(server.authorityPath)) { connection in
                while (try? await connection.receive()) == true {
                    connection.input.clear()
                    try? await fault.answer(connection)
                    // One that hangs is ended at some time.
                    if fault == .hangsUp || fault == .hangs { return }
                }
            }
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            for _ in 0..<2 { #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("451 4.3.0")) }
            #expect(try await client.say("DATA").hasPrefix("554"))
            let user = try await server.greetedClient(.submissions)
            #expect(try await user.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==").hasPrefix("454 4.7.0"))
            await faulty.shutDown(grace: .milliseconds(100))
            try await server.startAuthority()
            for _ in 0..<100 where !(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250")) {
                try await server.loop.scheduleTask(in: .milliseconds(20)) {}.futureResult.get()
            }
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.say("Subject: x\r\n\r\nx\r\n.").hasPrefix("250"))
            #expect(server.queue.messages.count == 1)
        }
    }
}
