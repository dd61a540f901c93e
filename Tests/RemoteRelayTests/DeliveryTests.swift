import Bus
import Deliverer
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Reporting
import Resolution
import SMTP
import TLS
import Testing

@testable import RemoteRelay

@Suite struct DeliveryTests {
    static let message = "Subject: x\r\n\r\n.dot\r\n..dots\r\nend\r\n"

    /// Sends the message so many times, one after the other, to servers that are tried in their order.
    ///
    /// - Parameter inPieces: as queue-manager gives a large message; otherwise all of it is in memory.
    /// - Returns: the results of the last time, of the recipients that have one.
    func deliver(
        _ scripts: [ScriptedServer.Script],
        sender: String = "<a@example.test>",
        terms: DeliveryTerms = DeliveryTerms(),
        recipients: [String] = ["<b@example.net>"],
        added: String = "",
        message: String = message,
        inPieces: Bool = false,
        times: Int = 1,
        submitter: Submitter? = nil,
        signing keys: SigningKeys? = nil,
        settings text: String = "",
        reported: NIOLockedValueBox<[ReportedResult]> = NIOLockedValueBox([])
    ) async throws -> (results: [DeliveryResult], servers: [ScriptedServer]) {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let servers = scripts.map { ScriptedServer($0) }
        let listener = Listener(group: loop)
        var targets: [Target] = []
        for server in servers {
            let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
            let port = try #require(InternetSocket.port(of: socket))
            targets.append(Target(host: "sink", address: try SocketAddress(ipAddress: "127.0.0.1", port: port)))
            try await listener.accept(on: socket) { await server.serve($0) }
        }
        let settings = try testSettings(text)
        let context = try TLSContext(clientVerifying: false)
        let request = DeliverRequest(
            id: "1",
            attempt: 1,
            arrived: 0,
            mayBeKnown: false,
            sender: try EnvelopeSender(parsing: sender.utf8),
            recipients: try recipients.map { try EnvelopeRecipient(parsing: $0.utf8) },
            destination: "example.net",
            added: ByteBuffer(string: added),
            octets: message.utf8.count,
            message: nil,
            submitter: submitter,
            terms: terms
        )
        let ready = targets
        let results = await Task(executorPreference: LoopExecutor.of(loop)) {
            let lookup = HostLookup(settings: settings, logger: logger) { (_, _) async throws(ResolutionError) in
                throw .unavailable("no DNS here")
            }
            let relay = Relay(
                settings: settings,
                lookup: lookup,
                security: RelaySecurity(context, hasAuthorities: false, on: loop),
                reports: TLSReports(settings) { result in reported.withLockedValue { $0.append(result) } },
                signing: keys,
                loop: loop,
                logger: logger
            )
            var results: [Int: DeliveryResult] = [:]
            for _ in 0..<times {
                results = [:]
                let source = Self.source(request, message, inPieces: inPieces, on: loop)
                let job = DeliveryJob(request, source, on: loop) { results[$0] = $1 }
                await relay.deliver(job, to: ready)
            }
            relay.close()
            return recipients.indices.compactMap { results[$0] }
        }.value
        await listener.shutDown(grace: .seconds(1))
        return (results, servers)
    }

    private static func source(
        _ request: DeliverRequest,
        _ message: String,
        inPieces: Bool,
        on loop: any EventLoop
    ) -> MessageSource {
        let octets = ByteBuffer(string: message)
        guard inPieces else { return MessageSource(added: request.added, message: octets, on: loop) }
        let pieces = Pieces()
        let source = MessageSource(added: request.added, octets: octets.readableBytes, on: loop) { offset, length in
            loop.execute {
                let piece = octets.getSlice(at: offset, length: length)
                pieces.source?.answer(Frame("OK", [.init("offset", "\(offset)")], body: piece))
            }
        }
        pieces.source = source
        return source
    }

    /// What answers for the pieces of a message. Belongs to one event loop.
    private final class Pieces: @unchecked Sendable {
        weak var source: MessageSource?
    }

    func script(_ changes: [String: [String]], greeting: String = "220 sink\r\n") -> ScriptedServer.Script {
        var script = ScriptedServer.Script()
        script.greeting = greeting
        script.replies.merge(changes) { $1 }
        return script
    }

    private let plain = ["EHLO": ["250 sink\r\n"]]

    @Test func messageArrivesUnharmed() async throws {
        for changes in [[:], plain] {
            let (results, servers) = try await deliver([script(changes)])
            #expect(results.map(\.action) == [.relayed])
            // Dots are doubled on the wire (RFC 5321 §4.5.2).
            #expect(servers[0].messages == ["Subject: x\n\n..dot\n...dots\nend"])
        }
    }

    /// A line of 5,000 octets at the end: of a message in memory, and of one in pieces whose end nobody has seen before it is
    /// sent.
    @Test func longLinesAreNotSent() async throws {
        let long = String(repeating: "0123456789", count: 500)
        let lines = String(repeating: "short\r\n", count: 20_000)
        for (text, inPieces) in [("", false), ("", true), (lines, true)] {
            let (results, servers) = try await deliver(
                [script(["EHLO": ["250-sink\r\n250 SIZE\r\n"]])],
                added: "Received: here\r\n",
                message: "Subject: x\r\n\r\n\(text)\(long)\r\n",
                inPieces: inPieces
            )
            #expect(results.map(\.action) == [.relayed])
            #expect(servers[0].messages.count == 1)
            let sent = try #require(servers[0].messages.first)
            #expect(sent.split(separator: "\n").allSatisfy { $0.utf8.count <= 998 })
            #expect(
                sent.hasPrefix(
                    "Received: here\nSubject: x\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n"
                )
            )
            #expect(sent.replacing("=\n", with: "").hasSuffix("\(text.replacing("\r\n", with: "\n"))\(long)"))
            // The size is told where it's known, and never a wrong one.
            #expect(servers[0].commands.last { $0.hasPrefix("MAIL") } == "MAIL FROM:<a@example.test>")
            #expect(servers[0].connections == (text.isEmpty ? 1 : 2))
        }
    }

    @Test func longLinesInSignedPartsComeBack() async throws {
        let long = String(repeating: "0123456789", count: 500)
        let message =
            "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\(long)\r\n--b\r\n\r\ns\r\n--b--\r\n"
        let (results, servers) = try await deliver([script([:])], message: message)
        #expect(results.map(\.status.description) == ["5.6.2"])
        #expect(results.map(\.action) == [.failed])
        #expect(servers[0].messages.isEmpty)
    }

    @Test func longDelimitersAreSentWithoutTheirBlanks() async throws {
        let blanks = String(repeating: " ", count: 1500)
        let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\(blanks)\r\n\r\nx\r\n--b--\r\n"
        let (results, servers) = try await deliver([script([:])], message: message)
        #expect(results.map(\.status.description) == ["2.0.0"])
        #expect(servers[0].messages.first?.contains("\n--b\n\nx\n--b--") == true)
    }

    /// A LF alone ends no line (no such message comes into the queue). Where one is folded, what's left is found when it's
    /// sent: the dot never comes.
    @Test(arguments: ["", "X-A: \(String(repeating: "word ", count: 300))\n"])
    func linesThatCantBeBrokenAreNotSent(_ folded: String) async throws {
        let long = String(repeating: "x", count: 600)
        let message = "Subject: x\r\n\(folded)X-B: \(long)\nX-C: \(long)\r\n\r\nx\r\n"
        let (results, servers) = try await deliver([script([:]), script([:])], message: message)
        #expect(results.map(\.status.description) == ["5.6.2"])
        #expect(servers.allSatisfy { $0.messages.isEmpty })
    }

    @Test func eachRecipientHasItsOwnResult() async throws {
        let replies = ["RCPT": ["250 ok\r\n", "550 5.1.1 unknown\r\n", "451 4.2.1 later\r\n"]]
        for changes in [replies, replies.merging(plain) { $1 }] {
            let (results, servers) = try await deliver(
                [script(changes)],
                recipients: ["<a@example.net>", "<b@example.net>", "<c@example.net>"]
            )
            #expect(results.map(\.action) == [.relayed, .failed, .delayed])
            #expect(results.map(\.status.description) == ["2.0.0", "5.1.1", "4.2.1"])
            #expect(results[1].diagnostic == "550 5.1.1 unknown")
            #expect(servers[0].messages.count == 1)
        }
    }

    @Test func nobodyAcceptedMeansNoMessage() async throws {
        let (results, servers) = try await deliver([
            script(["RCPT": ["550 no\r\n"], "DATA": ["503 no recipients\r\n"]])
        ])
        #expect(results.map(\.action) == [.failed])
        #expect(servers[0].messages.isEmpty)
    }

    @Test func hostThatWantsItForNobodyGetsNothing() async throws {
        let (results, servers) = try await deliver([script(["RCPT": ["550 no\r\n"]])])
        #expect(results.map(\.action) == [.failed])
        #expect(servers[0].messages == [""])
    }

    @Test(arguments: ["554 go away\r\n", "421 busy\r\n", "", "rubbish\r\n", "450 later\r\n"])
    func nextHostIsTried(greeting: String) async throws {
        let (results, servers) = try await deliver([script([:], greeting: greeting), script([:])])
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[1].messages.count == 1)
    }

    /// What an administrator reads names the point that the session had come to.
    @Test(arguments: [
        ("", "the greeting"), ("EHLO", "the reply to EHLO"), ("MAIL", "the reply to MAIL"),
        ("RCPT", "the reply to RCPT"), ("DATA", "the reply to DATA"), (".", "the reply to the message"),
    ])
    func whereTheSessionBrokeIsNamed(verb: String, stage: String) async throws {
        // One command at a time.
        let plain = ["EHLO": ["250 sink\r\n"]]
        let changes = verb.isEmpty ? plain : plain.merging([verb: [""]]) { $1 }
        let script = verb.isEmpty ? script(changes, greeting: "") : script(changes)
        let (results, _) = try await deliver([script])
        #expect(results.first?.action == .delayed)
        #expect(results.first?.text.hasSuffix("the connection was closed before \(stage)") == true)
    }

    @Test func silentHostIsNamedWithWhatItOwes() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let release = loop.makePromise(of: Void.self)
        var script = script([:])
        script.hold = ScriptedServer.Hold(
            verb: "EHLO",
            reached: loop.makePromise(),
            release: release.futureResult,
            ended: loop.makePromise()
        )
        let (results, _) = try await deliver([script], settings: "command-timeout = \"3s\"")
        #expect(results.first?.text == "timed out waiting for the reply to EHLO")
        release.succeed(())
    }

    @Test func noHostLeftIsTemporary() async throws {
        let (results, _) = try await deliver([script([:], greeting: "554 5.7.1 go away\r\n")])
        #expect(results.map(\.action) == [.delayed])
        #expect(results[0].status.description == "4.7.1")
    }

    @Test func connectionLostAfterTheDotIsTemporaryAndTriedNowhereElse() async throws {
        let (results, servers) = try await deliver([script([".": [""]]), script([:])])
        #expect(results.map(\.action) == [.delayed])
        #expect(results[0].status.description == "4.4.2")
        #expect(servers.map(\.messages.count) == [1, 0])
        // The same over a connection that was kept.
        let (again, kept) = try await deliver(
            [script([".": ["250 ok\r\n", "", "250 ok\r\n"]]), script([:])],
            times: 2
        )
        #expect(again.map(\.action) == [.delayed])
        #expect(kept.map(\.messages.count) == [2, 0])
    }

    @Test func refusalOfTheMessageIsFinal() async throws {
        let (results, _) = try await deliver([script([".": ["554 5.6.0 spam\r\n"]])])
        #expect(results.map(\.action) == [.failed])
        #expect(results[0].status.description == "5.6.0")
    }

    @Test func connectionIsKeptForTheNextMessage() async throws {
        let (results, servers) = try await deliver([script([:])], times: 5)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].messages.count == 5)
        #expect(servers[0].connections == 1)
        let (_, others) = try await deliver([script([:])], times: 5, settings: "reuse-count = 2")
        #expect(others[0].connections == 3)
    }

    @Test func keptConnectionThatDiedIsReplaced() async throws {
        let (results, servers) = try await deliver([script(["MAIL": ["250 ok\r\n", "", "250 ok\r\n"]])], times: 2)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].messages.count == 2)
        #expect(servers[0].connections == 2)
    }

    /// A host that offers what it can't do has its mail at the next attempt.
    @Test func hostThatLosesWhatIsPipelinedIsToldOneByOne() async throws {
        var host = script(["EHLO": ["250-sink\r\n250 PIPELINING\r\n"]])
        host.losesPipelines = true
        let (once, _) = try await deliver([host])
        #expect(once.map(\.text) == ["the connection was closed before the reply to RCPT"])
        #expect(once.map(\.scope) == [.recipient])
        let (results, servers) = try await deliver([host], times: 3)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].messages.count == 2)
        #expect(servers[0].connections == 2)
    }

    @Test func tooLargeIsRefusedBeforehand() async throws {
        let (results, servers) = try await deliver([script(["EHLO": ["250-sink\r\n250 SIZE 10\r\n"]])])
        #expect(results.map(\.action) == [.failed])
        #expect(results[0].status.description == "5.3.4")
        #expect(!servers[0].commands.contains { $0.hasPrefix("MAIL") })
    }

    @Test func endlessRepliesEnd() async throws {
        let endless = String(repeating: "220-more\r\n", count: 20_000)
        let line = "220 " + String(repeating: "x", count: 100_000)
        for greeting in [endless, line] {
            let (results, _) = try await deliver([script([:], greeting: greeting)])
            #expect(results.map(\.action) == [.delayed])
        }
    }

    @Test func oldHostIsGreetedTheOldWay() async throws {
        let (results, servers) = try await deliver([script(["EHLO": ["500 what\r\n"]])])
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].commands.prefix(2) == ["EHLO mail.example.test", "HELO mail.example.test"])
    }

    @Test func replyToDATAThatAsksForNothingIsNoDelivery() async throws {
        for changes in [["DATA": ["250 ok\r\n"]], plain.merging(["DATA": ["250 ok\r\n"]]) { $1 }] {
            let (results, servers) = try await deliver([script(changes)])
            #expect(results.map(\.action) == [.delayed])
            #expect(servers[0].messages.isEmpty)
        }
    }

    @Test func sessionThatCannotBeResetIsNotUsedAgain() async throws {
        let (results, servers) = try await deliver(
            [
                script([
                    "RCPT": ["550 no\r\n", "250 ok\r\n"], "DATA": ["503 no\r\n", "354 go\r\n"],
                    "RSET": ["500 what\r\n"],
                ])
            ],
            times: 2
        )
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].connections == 2)
    }

    @Test func keptConnectionThatHadEnoughIsReplaced() async throws {
        let changes = ["MAIL": ["250 ok\r\n", "421 enough\r\n", "250 ok\r\n"]]
        let (results, servers) = try await deliver([script(changes)], times: 2)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].connections == 2)
    }

    @Test func tooManyRecipientsIsTemporary() async throws {
        let (results, _) = try await deliver(
            [script(["RCPT": ["250 ok\r\n", "552 too many\r\n", "552 5.5.3 too many\r\n"]])],
            recipients: ["<a@example.net>", "<b@example.net>", "<c@example.net>"]
        )
        #expect(results.map(\.action) == [.relayed, .delayed, .delayed])
        #expect(results[1...].map(\.status.description) == ["4.5.3", "4.5.3"])
        #expect(results[1].diagnostic == "552 too many")
    }

    @Test func longRepliesAreCut() async throws {
        let long = String(repeating: "550-no\r\n", count: 900) + "550 no\r\n"
        let (results, _) = try await deliver([script(["RCPT": [long]])])
        #expect(results.map(\.action) == [.failed])
        #expect(results.allSatisfy { ($0.diagnostic?.utf8.count ?? 0) <= 1000 && $0.text.utf8.count < 1200 })
    }

    @Test func brokenTLSIsDoneWithout() async throws {
        let changes = ["EHLO": ["250-sink\r\n250 STARTTLS\r\n"], "STARTTLS": ["220 go\r\n"]]
        let (results, servers) = try await deliver([script(changes)])
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].connections == 2)
        let (required, others) = try await deliver([script(changes)], settings: "tls = \"required\"")
        #expect(required.map(\.status.description) == ["4.7.5"])
        #expect(others[0].messages.isEmpty)
    }

    /// What a domain may be told of its hosts' TLS, a session a result (RFC 8460 §4.3).
    @Test(arguments: [
        ("", [TLSSessionResult.Failure.notSupported]), ("250 STARTTLS", [.validation]), ("off", []),
    ])
    func tlsIsReported(_ what: String, _ failures: [TLSSessionResult.Failure]) async throws {
        let offer = what.hasPrefix("250") ? ["EHLO": ["250-sink\r\n\(what)\r\n"], "STARTTLS": ["220 go\r\n"]] : [:]
        let reported = NIOLockedValueBox<[ReportedResult]>([])
        let settings = what == "off" ? "tls = \"off\"" : ""
        let (results, _) = try await deliver([script(offer)], times: 2, settings: settings, reported: reported)
        #expect(results.map(\.action) == [.relayed])
        let sessions = reported.withLockedValue { $0 }.compactMap { result in
            if case .tls(let session) = result { session } else { nil }
        }
        // The second message goes over the first one's session.
        #expect(sessions.compactMap(\.failure) == failures && sessions.count == failures.count)
        #expect(sessions.allSatisfy { $0.domain == "example.net" && $0.receivingHost == "sink" })
        #expect(sessions.allSatisfy { $0.policyType == .none && $0.receivingAddress == "127.0.0.1" })
    }

    @Test func requiredTLSWaitsForIt() async throws {
        let (results, servers) = try await deliver([script([:])], settings: "tls = \"required\"")
        #expect(results.map(\.action) == [.delayed])
        #expect(results[0].status.description == "4.7.5")
        #expect(servers[0].messages.isEmpty)
    }

    @Test func whatIsAddedGoesInFront() async throws {
        let (results, servers) = try await deliver([script([:])], added: "Received: from a\r\n")
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].messages == ["Received: from a\nSubject: x\n\n..dot\n...dots\nend"])
    }

    @Test func sizeIsThatOfAllOctets() async throws {
        let changes = ["EHLO": ["250-sink\r\n250 SIZE 1000\r\n"]]
        let (_, servers) = try await deliver([script(changes)], added: "X: y\r\n")
        #expect(servers[0].commands.contains("MAIL FROM:<a@example.test> SIZE=\(Self.message.utf8.count + 6)"))
    }

    private static let large =
        "Subject: large\r\n\r\n" + String(repeating: String(repeating: "x", count: 70) + "\r\n", count: 20_000)

    @Test(arguments: [true, false]) func largeMessageStreams(inPieces: Bool) async throws {
        let (results, servers) = try await deliver([script([:])], message: Self.large, inPieces: inPieces)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].messages.first?.utf8.count == Self.large.utf8.count - 20_003)
    }

    @Test func nextHostGetsTheWholeMessage() async throws {
        // The first host hangs up before it says anything about the recipients.
        let first = script(["MAIL": [""]])
        let (results, servers) = try await deliver([first, script([:])], message: Self.large, inPieces: true)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[1].messages.first?.utf8.count == Self.large.utf8.count - 20_003)
    }

    @Test func onlyADestinationThatNobodyReachesIsToBlame() async throws {
        let (silent, _) = try await deliver([script([:], greeting: ""), script([:], greeting: "")])
        #expect(silent.map(\.scope) == [.destination])
        #expect(silent.map(\.status) == [.noAnswer])
        let (mixed, _) = try await deliver([script([:], greeting: "421 busy\r\n"), script([:], greeting: "")])
        #expect(mixed.map(\.scope) == [.session])
        for changes in [["EHLO": ["421 busy\r\n"]], ["MAIL": ["421 busy\r\n"]]] {
            let (refused, _) = try await deliver([script(changes)])
            #expect(refused.map(\.scope) == [.session])
        }
        let (greeted, _) = try await deliver([script([:], greeting: "554 not you\r\n"), script(["MAIL": [""]])])
        #expect(greeted.map(\.scope) == [.recipient])
        let (lost, _) = try await deliver([script(["MAIL": [""]])])
        #expect(lost.map(\.scope) == [.recipient])
        let (busy, _) = try await deliver([script(["RCPT": ["451 4.2.1 later\r\n"]])])
        #expect(busy.map(\.scope) == [.recipient])
    }
}
