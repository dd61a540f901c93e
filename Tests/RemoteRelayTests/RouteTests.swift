import DNS
import Daemon
import Deliverer
import Encodings
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Resolution
import SASL
import SMTP
import TLS
import Testing

@testable import RemoteRelay

/// Where mail goes by routes, and how we log in there.
@Suite struct RouteTests {
    private static let authority = try? TestAuthority()

    /// What comes of a message to hosts that follow scripts, by routes that name them as HOST0, HOST1.
    private func deliver(
        _ scripts: [ScriptedServer.Script],
        settings: String,
        credentials: [String: RelayCredentials] = [:],
        sender: String = "<a@example.test>",
        account: String? = nil,
        recipients: [String] = ["<b@example.net>"],
        times: Int = 1
    ) async throws -> (results: [DeliveryResult], servers: [ScriptedServer]) {
        let authority = try #require(Self.authority)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let listener = Listener(group: loop)
        let servers = scripts.map { ScriptedServer($0) }
        var text = settings
        for (index, server) in servers.enumerated() {
            let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
            let port = try #require(InternetSocket.port(of: socket))
            text = text.replacing("HOST\(index)", with: "mx.a.net:\(port)")
            try await listener.accept(on: socket) { await server.serve($0) }
        }
        let configuration = try Configuration(text: "hostname = \"mail.example.test\"\n\(text)", file: "test")
        let relaySettings = RelaySettings(configuration, interfaces: [])
        let parsed = try EnvelopeSender(parsing: sender.utf8)
        let question = RouteTable.Question(
            account: account,
            sender: parsed.path.address?.description,
            destination: "example.net"
        )
        let request = DeliverRequest(
            id: "1",
            attempt: 1,
            arrived: 0,
            mayBeKnown: false,
            sender: parsed,
            recipients: try recipients.map { try EnvelopeRecipient(parsing: $0.utf8) },
            destination: "example.net",
            added: ByteBuffer(),
            octets: 0,
            message: nil,
            account: account,
            route: RouteTable(configuration.remoteRelay).route(for: question)
        )
        let context = try authority.client()
        let results = NIOLockedValueBox<[Int: DeliveryResult]>([:])
        await Task(executorPreference: LoopExecutor.of(loop)) {
            // mx.a.net is here; nothing else is anywhere.
            let lookup = HostLookup(settings: relaySettings, logger: logger) {
                (name, type) async throws(ResolutionError) in
                guard "\(name)" == "mx.a.net.", type == .a,
                    let record = try? ResourceRecord(
                        name: name,
                        type: type,
                        class: .internet,
                        timeToLive: 60,
                        wireData: [127, 0, 0, 1]
                    )
                else { return Resolution(responseCode: .noError, answers: []) }
                return Resolution(responseCode: .noError, answers: [record])
            }
            let relay = Relay(
                settings: relaySettings,
                lookup: lookup,
                security: RelaySecurity(context, hasAuthorities: true, credentials: credentials, on: loop),
                loop: loop,
                logger: logger
            )
            for _ in 0..<times {
                let message = ByteBuffer(string: DeliveryTests.message)
                let source = MessageSource(added: ByteBuffer(), message: message, on: loop)
                let job = DeliveryJob(request, source, on: loop) { place, result in
                    results.withLockedValue { $0[place] = result }
                }
                await relay.deliver(job)
            }
            relay.close()
        }.value
        await listener.shutDown(grace: .seconds(1))
        return (recipients.indices.compactMap { place in results.withLockedValue { $0[place] } }, servers)
    }

    private func script(
        _ certificate: TestAuthority.Certificate? = nil,
        auth: String = "",
        replies: [String: [String]] = [:]
    ) throws -> ScriptedServer.Script {
        var script = ScriptedServer.Script()
        let lines = ["250-sink", certificate == nil ? "" : "250-STARTTLS", auth.isEmpty ? "" : "250-AUTH \(auth)"]
        script.replies["EHLO"] = [lines.filter { !$0.isEmpty }.joined(separator: "\r\n") + "\r\n250 HELP\r\n"]
        script.replies["LHLO"] = script.replies["EHLO"]
        if let certificate {
            script.tls = try #require(Self.authority).server(certificate)
            script.replies["STARTTLS"] = ["220 go\r\n"]
        }
        script.replies.merge(replies) { $1 }
        return script
    }

    // MARK: Which

    @Test(
        arguments: [
            ("<a@example.test>", nil, 0), ("<boss@example.test>", nil, 1), ("<x@firm.test>", nil, 2),
            ("<x@sub.firm.test>", nil, 0), ("<boss@example.test>", "Alice@Example.Test", 3), ("<>", nil, 0),
        ] as [(String, String?, Int)]
    )
    func accountThenSenderThenRecipient(_ sender: String, _ account: String?, _ index: Int) async throws {
        let settings = """
            [remote-relay.routes]
            "*" = "HOST0"
            [remote-relay.sender-routes]
            "Boss@example.test" = "HOST1"
            "firm.test" = { hosts = ["HOST2"] }
            [remote-relay.account-routes]
            "alice@example.test" = "HOST3"
            """
        let scripts = try (0..<4).map { _ in try script() }
        let (results, servers) = try await deliver(scripts, settings: settings, sender: sender, account: account)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers.map(\.messages.count) == (0..<4).map { $0 == index ? 1 : 0 })
    }

    @Test func nextHostIsForWhenTheFirstIsDown() async throws {
        let settings = "[remote-relay.routes]\n\"*\" = { hosts = [\"nowhere.a.net\", \"HOST0\", \"HOST1\"] }"
        var down = try script()
        down.greeting = ""
        let (results, servers) = try await deliver([down, try script()], settings: settings)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers.map(\.messages.count) == [0, 1])
    }

    @Test func mailMayGoNowhere() async throws {
        let settings = """
            [remote-relay.routes]
            "example.net" = { action = "ACTION", status = "STATUS", text = "not here" }
            """
        for (action, status, result) in [
            ("error", "5.1.2", "failed 5.1.2 not here"), ("error", "4.3.2", "delayed 4.3.2 not here"),
        ] {
            let text = settings.replacing("ACTION", with: action).replacing("STATUS", with: status)
            let (results, _) = try await deliver([], settings: text)
            #expect(results.map { "\($0.action.rawValue) \($0.status) \($0.text)" } == [result])
        }
        let (results, _) = try await deliver(
            [],
            settings: "[remote-relay.routes]\n\"example.net\" = { action = \"discard\" }"
        )
        #expect(results.map(\.action) == [.delivered])
    }

    /// One answer for each recipient (RFC 2033 §4.2).
    @Test func lmtpAnswersEachRecipient() async throws {
        let settings = "[remote-relay.routes]\n\"*\" = { hosts = [\"HOST0\"], protocol = \"lmtp\", tls = \"none\" }"
        let replies = [
            "RCPT": ["250 ok\r\n", "550 5.1.1 no\r\n", "250 ok\r\n", "250 ok\r\n"],
            ".": ["250 2.0.0 one\r\n452 4.2.2 full\r\n250 2.0.0 three\r\n"],
        ]
        let (results, servers) = try await deliver(
            [try script(replies: replies)],
            settings: settings,
            recipients: ["<a@example.net>", "<b@example.net>", "<c@example.net>", "<d@example.net>"]
        )
        #expect(results.map(\.action) == [.relayed, .failed, .delayed, .relayed])
        #expect(results[2].status.description == "4.2.2")
        #expect(servers[0].commands.first == "LHLO mail.example.test")
        #expect(servers[0].messages.count == 1)
    }

    @Test func lmtpThatStopsInBetweenIsAskedAgain() async throws {
        let settings = "[remote-relay.routes]\n\"*\" = { hosts = [\"HOST0\"], protocol = \"lmtp\", tls = \"none\" }"
        let (results, _) = try await deliver(
            [try script(replies: [".": ["250 2.0.0 one\r\n421 4.3.0 enough\r\n"]])],
            settings: settings,
            recipients: ["<a@example.net>", "<b@example.net>"]
        )
        #expect(results.map(\.action) == [.relayed, .delayed])
    }

    // MARK: TLS and logins

    private static let password = RelayCredentials(user: "user", secret: .password("pencil"))

    private func login(
        _ script: ScriptedServer.Script,
        _ credentials: RelayCredentials = password,
        route: String = "",
        times: Int = 1
    ) async throws -> (results: [DeliveryResult], servers: [ScriptedServer]) {
        try await deliver(
            [script],
            settings: "[remote-relay.routes]\n\"*\" = { hosts = [\"HOST0\"], credentials = \"isp\"\(route) }",
            credentials: ["isp": credentials],
            times: times
        )
    }

    @Test func loginIsMadeOncePerSession() async throws {
        let host = try script(.good, auth: "LOGIN PLAIN", replies: ["AUTH": ["235 2.7.0 welcome\r\n"]])
        let (results, servers) = try await login(host, times: 2)
        #expect(results.map(\.action) == [.relayed])
        #expect(results[0].security == SessionSecurity(policy: "configured", version: "TLSv1.3", proof: "pkix"))
        #expect(
            servers[0].commands.filter { $0.hasPrefix("AUTH") } == [
                "AUTH PLAIN \(Base64.text(Array("\0user\0pencil".utf8)))"
            ]
        )
        #expect(servers[0].connections == 1 && servers[0].messages.count == 2)
    }

    @Test func implicitTLSBeginsAtOnce() async throws {
        var host = try script(.good, auth: "PLAIN", replies: ["AUTH": ["235 2.7.0 welcome\r\n"]])
        host.isImplicitTLS = true
        let (results, servers) = try await login(host, route: ", implicit-tls = true")
        #expect(results.map(\.action) == [.relayed])
        #expect(!servers[0].commands.contains("STARTTLS"))
    }

    /// Secrets go to the host alone that was meant.
    @Test(arguments: [TestAuthority.Certificate.other, .expired, .own, nil])
    func nothingIsSaidToOthers(_ certificate: TestAuthority.Certificate?) async throws {
        let (results, servers) = try await login(try script(certificate, auth: "PLAIN"))
        #expect(results.map(\.status) == [.encryptionNeeded])
        #expect(!servers[0].commands.contains { $0.hasPrefix("AUTH") })
    }

    @Test func refusedLoginIsTheAdministratorsToMend() async throws {
        for reply in ["535 5.7.8 wrong\r\n", "454 4.7.0 later\r\n"] {
            let (results, servers) = try await login(try script(.good, auth: "PLAIN", replies: ["AUTH": [reply]]))
            #expect(results.map(\.status) == [.loginFailed])
            #expect(results.allSatisfy { $0.action == .delayed && $0.diagnostic == String(reply.dropLast()) })
            #expect(servers[0].messages.isEmpty)
        }
        let (results, servers) = try await login(try script(.good, auth: "GSSAPI"))
        #expect(results.map(\.status) == [.loginFailed])
        #expect(!servers[0].commands.contains { $0.hasPrefix("AUTH") })
    }

    @Test func questionsAreAnswered() async throws {
        let replies = ["AUTH": ["334 VXNlcm5hbWU6\r\n"], "334": ["334 UGFzc3dvcmQ6\r\n", "235 ok\r\n"]]
        let (results, servers) = try await login(try script(.good, auth: "LOGIN", replies: replies))
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].commands.contains("dXNlcg==") && servers[0].commands.contains("cGVuY2ls"))
    }

    @Test func tokenThatIsRefusedEndsTheLogin() async throws {
        let replies = ["AUTH": ["334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"], "334": ["535 5.7.8 expired\r\n"]]
        let credentials = RelayCredentials(user: "u@a.net", secret: .token("abc"))
        let (results, servers) = try await login(
            try script(.good, auth: "XOAUTH2 PLAIN", replies: replies),
            credentials
        )
        #expect(results.map(\.status) == [.loginFailed])
        #expect(servers[0].commands.contains(""))
    }

    /// Who only pretends to be the host can't say that a login was good (RFC 5802 §5).
    @Test(arguments: ["235 ok\r\n", "334 rubbish!\r\n", "334 \(Base64.text(Array("r=x,s=eA==,i=4096".utf8)))\r\n"])
    func hostMustKnowThePasswordItself(_ reply: String) async throws {
        let replies = ["AUTH": [reply], "334": ["501 5.5.2 ended\r\n"]]
        let (results, servers) = try await login(try script(.good, auth: "SCRAM-SHA-256", replies: replies))
        #expect(results.map(\.status) == [.loginFailed])
        #expect(servers[0].messages.isEmpty)
    }

    /// An account is locked by those who try it with each message.
    @Test func refusedLoginIsNotTriedAgainAtOnce() async throws {
        let host = try script(.good, auth: "PLAIN", replies: ["AUTH": ["535 5.7.8 wrong\r\n"]])
        let (results, servers) = try await login(host, times: 5)
        #expect(results.map(\.status) == [.loginFailed])
        // Fewer at a time, and later.
        #expect(results.map(\.scope) == [.session])
        #expect(servers[0].commands.filter { $0.hasPrefix("AUTH") }.count == 1)
        #expect(servers[0].connections == 1)
    }

    // MARK: Sources

    /// It's the administrator's mistake, which the host and others' mail have no part in.
    @Test func sourceThatIsNotHereIsNamed() async throws {
        let settings = """
            [remote-relay.routes]
            "*" = "HOST0"
            [remote-relay.sources]
            "firm.test" = { ipv4 = "192.0.2.77" }
            """
        let (results, servers) = try await deliver([try script()], settings: settings, sender: "<a@firm.test>")
        #expect(results.map(\.status) == [EnhancedStatusCode(4, 3, 5)])
        #expect(results.map(\.scope) == [.recipient])
        #expect(results.first?.text.hasPrefix("cannot connect from 192.0.2.77: ") == true)
        #expect(servers[0].connections == 0)
    }

    @Test(arguments: [
        ("<a@example.test>", "four.example.test"), ("<a@firm.test>", "mail.firm.test"),
        ("<a@other.test>", "four.other.test"), ("<a@third.test>", "four.example.test"),
    ])
    func nameInEHLOIsThatOfTheFamily(_ sender: String, _ name: String) async throws {
        let settings = """
            [remote-relay]
            hostname-ipv4 = "four.example.test"
            hostname-ipv6 = "six.example.test"
            [remote-relay.routes]
            "*" = "HOST0"
            [remote-relay.sources]
            "firm.test" = { hostname = "mail.firm.test" }
            "other.test" = { hostname = "mail.other.test", hostname-ipv4 = "four.other.test" }
            "third.test" = { ipv4 = "127.0.0.1" }
            """
        let (_, servers) = try await deliver([try script()], settings: settings, sender: sender)
        #expect(servers[0].commands.first == "EHLO \(name)")
    }

    @Test func senderDomainHasItsOwnNameAndAddress() async throws {
        let settings = """
            [remote-relay.routes]
            "*" = "HOST0"
            [remote-relay.sources]
            "firm.test" = { ipv4 = "127.0.0.1", hostname = "mail.firm.test" }
            """
        for (sender, name) in [("<a@firm.test>", "mail.firm.test"), ("<a@example.test>", "mail.example.test")] {
            let (results, servers) = try await deliver([try script()], settings: settings, sender: sender)
            #expect(results.map(\.action) == [.relayed])
            #expect(servers[0].commands.first == "EHLO \(name)")
        }
    }
}
