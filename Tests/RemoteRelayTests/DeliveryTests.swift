import Bus
import Logging
import NIOCore
import NIOPosix
import Network
import Resolution
import SMTP
import TLS
import Testing

@testable import RemoteRelay

#if canImport(Glibc)
import Glibc
#endif

@Suite struct DeliveryTests {
    private static let message = "Subject: x\r\n\r\n.dot\r\n..dots\r\nend\r\n"

    /// Sends the message so many times, one after the other, to servers that are tried in their order.
    private func deliver(
        _ scripts: [ScriptedServer.Script],
        recipients: [String] = ["<b@example.net>"],
        message: String = message,
        times: Int = 1,
        settings text: String = ""
    ) async throws -> (outcomes: [Outcome], servers: [ScriptedServer]) {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let servers = scripts.map { ScriptedServer($0) }
        let listener = Listener(group: loop)
        var hosts: [String] = []
        for server in servers {
            let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
            hosts.append("127.0.0.1:\(try #require(InternetSocket.port(of: socket)))")
            try await listener.accept(on: socket) { await server.serve($0) }
        }
        let directory = "/tmp/martlet-relay-\(UInt64.random(in: 0 ... .max))"
        mkdir(directory, 0o700)
        mkdir("\(directory)/aa", 0o700)
        defer { system("rm -rf \(directory)") }
        let descriptor = open("\(directory)/aa/1", O_WRONLY | O_CREAT, 0o600)
        _ = write(descriptor, message, message.utf8.count)
        close(descriptor)
        let queue = open(directory, O_RDONLY | O_DIRECTORY)
        defer { close(queue) }
        let settings = try testSettings(text)
        let tls = try TLSContext(clientVerifying: false)
        let targets = try hosts.map { host in
            let parts = host.split(separator: ":")
            return Target(
                host: "sink",
                address: try SocketAddress(ipAddress: String(parts[0]), port: try #require(Int(parts[1])))
            )
        }
        let file = try MessageFile.open("aa/1", in: queue, offset: 0, octets: message.utf8.count)
        let request = DeliveryRequest(
            id: "1",
            destination: "example.net",
            sender: try EnvelopeSender(parsing: "<a@example.test>".utf8),
            recipients: try recipients.map { try EnvelopeRecipient(parsing: $0.utf8) },
            file: file
        )
        let outcomes = await Task(executorPreference: LoopExecutor.of(loop)) {
            let lookup = HostLookup(settings: settings, logger: logger) { (_, _) async throws(ResolutionError) in
                throw .unavailable("no DNS here")
            }
            let pool = NIOThreadPool.singleton
            let relay = Relay(settings: settings, lookup: lookup, tls: tls, pool: pool, loop: loop)
            var outcomes: [Outcome] = []
            for _ in 0..<times { outcomes = await relay.deliver(request, to: targets) }
            relay.close()
            return outcomes
        }.value
        await listener.shutDown(grace: .seconds(1))
        return (outcomes, servers)
    }

    private func script(_ changes: [String: [String]], greeting: String = "220 sink\r\n") -> ScriptedServer.Script {
        var script = ScriptedServer.Script()
        script.greeting = greeting
        script.replies.merge(changes) { $1 }
        return script
    }

    private let plain = ["EHLO": ["250 sink\r\n"]]

    @Test func messageArrivesUnharmed() async throws {
        for changes in [[:], plain] {
            let (outcomes, servers) = try await deliver([script(changes)])
            #expect(outcomes.map(\.kind) == [.ok])
            // Dots are doubled on the wire (RFC 5321 §4.5.2).
            #expect(servers[0].messages == ["Subject: x\n\n..dot\n...dots\nend"])
        }
    }

    @Test func eachRecipientHasItsOwnResult() async throws {
        let replies = ["RCPT": ["250 ok\r\n", "550 5.1.1 unknown\r\n", "451 4.2.1 later\r\n"]]
        for changes in [replies, replies.merging(plain) { $1 }] {
            let (outcomes, servers) = try await deliver(
                [script(changes)],
                recipients: ["<a@example.net>", "<b@example.net>", "<c@example.net>"]
            )
            #expect(outcomes.map(\.kind) == [.ok, .reject, .defer])
            #expect(outcomes.map(\.status.description) == ["2.0.0", "5.1.1", "4.2.1"])
            #expect(outcomes[1].diagnostic == "550 5.1.1 unknown")
            #expect(servers[0].messages.count == 1)
        }
    }

    @Test func nobodyAcceptedMeansNoMessage() async throws {
        let (outcomes, servers) = try await deliver([
            script(["RCPT": ["550 no\r\n"], "DATA": ["503 no recipients\r\n"]])
        ])
        #expect(outcomes.map(\.kind) == [.reject])
        #expect(servers[0].messages.isEmpty)
    }

    @Test func hostThatWantsItForNobodyGetsNothing() async throws {
        let (outcomes, servers) = try await deliver([script(["RCPT": ["550 no\r\n"]])])
        #expect(outcomes.map(\.kind) == [.reject])
        #expect(servers[0].messages == [""])
    }

    @Test(arguments: ["554 go away\r\n", "421 busy\r\n", "", "rubbish\r\n", "450 later\r\n"])
    func nextHostIsTried(greeting: String) async throws {
        let (outcomes, servers) = try await deliver([script([:], greeting: greeting), script([:])])
        #expect(outcomes.map(\.kind) == [.ok])
        #expect(servers[1].messages.count == 1)
    }

    @Test func noHostLeftIsTemporary() async throws {
        let (outcomes, _) = try await deliver([script([:], greeting: "554 5.7.1 go away\r\n")])
        #expect(outcomes.map(\.kind) == [.defer])
        #expect(outcomes[0].status.description == "4.7.1")
    }

    @Test func connectionLostAfterTheDotIsTemporaryAndTriedNowhereElse() async throws {
        let (outcomes, servers) = try await deliver([script([".": [""]]), script([:])])
        #expect(outcomes.map(\.kind) == [.defer])
        #expect(outcomes[0].status.description == "4.4.2")
        #expect(servers.map(\.messages.count) == [1, 0])
        // The same over a connection that was kept.
        let (again, kept) = try await deliver(
            [script([".": ["250 ok\r\n", "", "250 ok\r\n"]]), script([:])],
            times: 2
        )
        #expect(again.map(\.kind) == [.defer])
        #expect(kept.map(\.messages.count) == [2, 0])
    }

    @Test func refusalOfTheMessageIsFinal() async throws {
        let (outcomes, _) = try await deliver([script([".": ["554 5.6.0 spam\r\n"]])])
        #expect(outcomes.map(\.kind) == [.reject])
        #expect(outcomes[0].status.description == "5.6.0")
    }

    @Test func connectionIsKeptForTheNextMessage() async throws {
        let (outcomes, servers) = try await deliver([script([:])], times: 5)
        #expect(outcomes.map(\.kind) == [.ok])
        #expect(servers[0].messages.count == 5)
        #expect(servers[0].connections == 1)
        let (_, others) = try await deliver([script([:])], times: 5, settings: "reuse-count = 2")
        #expect(others[0].connections == 3)
    }

    @Test func keptConnectionThatDiedIsReplaced() async throws {
        let (outcomes, servers) = try await deliver([script(["MAIL": ["250 ok\r\n", "", "250 ok\r\n"]])], times: 2)
        #expect(outcomes.map(\.kind) == [.ok])
        #expect(servers[0].messages.count == 2)
        #expect(servers[0].connections == 2)
    }

    @Test func tooLargeIsRefusedBeforehand() async throws {
        let (outcomes, servers) = try await deliver([script(["EHLO": ["250-sink\r\n250 SIZE 10\r\n"]])])
        #expect(outcomes.map(\.kind) == [.reject])
        #expect(outcomes[0].status.description == "5.3.4")
        #expect(!servers[0].commands.contains { $0.hasPrefix("MAIL") })
    }

    @Test func endlessRepliesEnd() async throws {
        let endless = String(repeating: "220-more\r\n", count: 20_000)
        let line = "220 " + String(repeating: "x", count: 100_000)
        for greeting in [endless, line] {
            let (outcomes, _) = try await deliver([script([:], greeting: greeting)])
            #expect(outcomes.map(\.kind) == [.defer])
        }
    }

    @Test func oldHostIsGreetedTheOldWay() async throws {
        let (outcomes, servers) = try await deliver([script(["EHLO": ["500 what\r\n"]])])
        #expect(outcomes.map(\.kind) == [.ok])
        #expect(servers[0].commands.prefix(2) == ["EHLO mail.example.test", "HELO mail.example.test"])
    }

    @Test func replyToDATAThatAsksForNothingIsNoDelivery() async throws {
        for changes in [["DATA": ["250 ok\r\n"]], plain.merging(["DATA": ["250 ok\r\n"]]) { $1 }] {
            let (outcomes, servers) = try await deliver([script(changes)])
            #expect(outcomes.map(\.kind) == [.defer])
            #expect(servers[0].messages.isEmpty)
        }
    }

    @Test func sessionThatCannotBeResetIsNotUsedAgain() async throws {
        let (outcomes, servers) = try await deliver(
            [
                script([
                    "RCPT": ["550 no\r\n", "250 ok\r\n"], "DATA": ["503 no\r\n", "354 go\r\n"],
                    "RSET": ["500 what\r\n"],
                ])
            ],
            times: 2
        )
        #expect(outcomes.map(\.kind) == [.ok])
        #expect(servers[0].connections == 2)
    }

    @Test func keptConnectionThatHadEnoughIsReplaced() async throws {
        let changes = ["MAIL": ["250 ok\r\n", "421 enough\r\n", "250 ok\r\n"]]
        let (outcomes, servers) = try await deliver([script(changes)], times: 2)
        #expect(outcomes.map(\.kind) == [.ok])
        #expect(servers[0].connections == 2)
    }

    @Test func tooManyRecipientsIsTemporary() async throws {
        let (outcomes, _) = try await deliver(
            [script(["RCPT": ["250 ok\r\n", "552 too many\r\n", "552 5.5.3 too many\r\n"]])],
            recipients: ["<a@example.net>", "<b@example.net>", "<c@example.net>"]
        )
        #expect(outcomes.map(\.kind) == [.ok, .defer, .defer])
        #expect(outcomes[1...].map(\.status.description) == ["4.5.3", "4.5.3"])
        #expect(outcomes[1].diagnostic == "552 too many")
    }

    @Test func longRepliesAreCut() async throws {
        let long = String(repeating: "550-no\r\n", count: 900) + "550 no\r\n"
        let (outcomes, _) = try await deliver([script(["RCPT": [long]])])
        #expect(outcomes.map(\.kind) == [.reject])
        #expect(outcomes.allSatisfy { ($0.diagnostic?.utf8.count ?? 0) <= 1000 && $0.text.utf8.count < 1200 })
    }

    @Test func brokenTLSIsDoneWithout() async throws {
        let changes = ["EHLO": ["250-sink\r\n250 STARTTLS\r\n"], "STARTTLS": ["220 go\r\n"]]
        let (outcomes, servers) = try await deliver([script(changes)])
        #expect(outcomes.map(\.kind) == [.ok])
        #expect(servers[0].connections == 2)
        let (required, others) = try await deliver([script(changes)], settings: "tls = \"required\"")
        #expect(required.map(\.status.description) == ["4.7.5"])
        #expect(others[0].messages.isEmpty)
    }

    @Test func requiredTLSWaitsForIt() async throws {
        let (outcomes, servers) = try await deliver([script([:])], settings: "tls = \"required\"")
        #expect(outcomes.map(\.kind) == [.defer])
        #expect(outcomes[0].status.description == "4.7.5")
        #expect(servers[0].messages.isEmpty)
    }

    @Test(arguments: ["../aa", "aa/../aa", "/etc/passwd", "aa", "aa/b/c", "AA/1", "aa/", ""])
    func namesOfFilesAreChecked(name: String) {
        #expect(throws: MessageFile.Fault.badName) {
            _ = try MessageFile.open(name, in: AT_FDCWD, offset: 0, octets: 1)
        }
    }

    @Test func largeMessageStreams() async throws {
        let large =
            "Subject: large\r\n\r\n" + String(repeating: String(repeating: "x", count: 70) + "\r\n", count: 20_000)
        let (outcomes, servers) = try await deliver([script([:])], message: large)
        #expect(outcomes.map(\.kind) == [.ok])
        #expect(servers[0].messages.first?.utf8.count == large.utf8.count - 20_003)
    }
}
