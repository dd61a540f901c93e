import Deliverer
import Logging
import NIOConcurrencyHelpers
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

/// Addresses that don't answer, and hosts that have two.
@Suite struct ReachTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    /// What comes of messages to these addresses of one host, one after the other.
    private func deliver(
        _ addresses: [SocketAddress],
        flushed: Bool = false,
        timeout: String = "1s",
        times: Int = 1
    ) async throws -> [DeliveryResult] {
        let loop = loop
        let settings = try testSettings("connect-timeout = \"\(timeout)\"")
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let security = try testSecurity(on: loop)
        let request = DeliverRequest(
            id: "1",
            attempt: 1,
            arrived: 0,
            mayBeKnown: false,
            sender: try EnvelopeSender(parsing: "<a@example.test>".utf8),
            recipients: [try EnvelopeRecipient(parsing: "<b@example.net>".utf8)],
            destination: "example.net",
            added: ByteBuffer(),
            octets: 0,
            message: nil,
            isFlushed: flushed
        )
        return await Task(executorPreference: LoopExecutor.of(loop)) {
            let lookup = HostLookup(settings: settings, logger: logger) { (_, _) async throws(ResolutionError) in
                throw .unavailable("no DNS here")
            }
            let relay = Relay(settings: settings, lookup: lookup, security: security, loop: loop, logger: logger)
            let results = NIOLockedValueBox<[DeliveryResult]>([])
            for _ in 0..<times {
                let message = ByteBuffer(string: DeliveryTests.message)
                let source = MessageSource(added: ByteBuffer(), message: message, on: loop)
                let job = DeliveryJob(request, source, on: loop) { _, result in
                    results.withLockedValue { $0.append(result) }
                }
                await relay.deliver(job, to: addresses.map { Target(host: "mx.a.net", address: $0) })
            }
            relay.close()
            return results.withLockedValue { $0 }
        }.value
    }

    /// Thousands of domains may have their mail at one address that is dead: only the first finds that out.
    @Test(arguments: [false, true]) func silentAddressIsLeftAlone(flushed: Bool) async throws {
        let silent = try SilentAddress()
        let begun = NIODeadline.now()
        let results = try await deliver([silent.address], flushed: flushed, times: 20)
        #expect(.now() - begun < .seconds(15))
        #expect(results.allSatisfy { $0.scope == .destination && $0.status == .noAnswer && $0.remote != nil })
        #expect(results.map(\.text).first == "cannot connect: timed out")
        #expect(results.map(\.text).last == "could not be connected to a short while ago")
        #expect(results.count == 20)
    }

    /// What is told is of the address that answered, and no address is tried twice in one attempt.
    @Test(.enabled(if: ReachTests.hasIPv6)) func refusalIsOfTheAddressThatAnswered() async throws {
        var script = ScriptedServer.Script()
        script.greeting = "554 5.7.1 not you\r\n"
        let server = ScriptedServer(script)
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "::1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        let listener = Listener(group: loop)
        try await listener.accept(on: socket) { await server.serve($0) }
        let silent = try SilentAddress()
        let results = try await deliver(
            [silent.address, try SocketAddress(ipAddress: "::1", port: port)],
            timeout: "30s"
        )
        #expect(results.map(\.remote?.address) == ["::1"])
        #expect(results.map(\.status) == [EnhancedStatusCode(4, 7, 1)])
        #expect(server.connections == 1)
        await listener.shutDown(grace: .zero)
    }

    /// Without SMTPUTF8, domains are asked for in ASCII, and other local parts are not asked for.
    @Test(arguments: [
        ("250 PIPELINING", ["RCPT TO:<a@xn--bcher-kva.example>"]),
        ("250 SMTPUTF8", ["RCPT TO:<a@b\u{fc}cher.example>", "RCPT TO:<\u{e4}@b\u{fc}cher.example>"]),
    ])
    func hostIsAskedInWhatItUnderstands(_ line: String, _ commands: [String]) async throws {
        var script = ScriptedServer.Script()
        script.replies["EHLO"] = ["250-sink\r\n\(line)\r\n"]
        let stage = try await RelayStage(script, on: loop)
        let (relay, route) = (stage.relay, stage.route)
        let recipients = try ["a@b\u{fc}cher.example", "\u{e4}@b\u{fc}cher.example"].map {
            try MailAddress(parsing: $0.utf8, options: .envelope)
        }
        let results = await Task(executorPreference: LoopExecutor.of(loop)) {
            var results: [DeliveryResult] = []
            for recipient in recipients { results.append(await relay.check(recipient, by: route)) }
            relay.close()
            return results
        }.value
        #expect(results.map(\.action) == [.relayed, commands.count == 1 ? .failed : .relayed])
        #expect(results.last?.status == (commands.count == 1 ? .noUTF8Addresses : .recipientValid))
        #expect(stage.host.commands.filter { $0.hasPrefix("RCPT") } == commands)
        await stage.shutDown()
    }

    private static var hasIPv6: Bool {
        guard let address = try? SocketAddress(ipAddress: "::1", port: 0),
            let socket = try? InternetSocket.listen(address)
        else { return false }
        close(socket)
        return true
    }
}
