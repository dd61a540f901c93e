import Bus
import Daemon
import Deliverer
import Logging
import MailAuth
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

/// What becomes of mail for hosts that are protected in right and wrong ways: real handshakes with a host that follows a script.
@Suite(.serialized) struct TLSPolicyTests {
    /// What DNS, policy, configuration and host are like, and what comes of it.
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        var certificate: TestAuthority.Certificate? = .good
        /// Usage, selector, matching, and whose; nil for the authority.
        var records: [(UInt8, UInt8, UInt8, TestAuthority.Certificate?)] = []
        var isUnknown = false
        var sts: MTASTSPolicy.Mode?
        var patterns = ["mx.a.net"]
        var rule = ""
        var general = ""
        var isAssured = false
        var sender = "<a@example.test>"
        var host = "mx.a.net"
        /// In front of the message.
        var field = ""
        let result: String
        var report: [TLSSessionResult.Failure] = []

        var testDescription: String { name }
    }

    private static let taken = "relayed 2.0.0"
    private static let waits = "delayed 4.7.5"

    static let cases: [Case] = [
        // Nothing is published.
        Case(name: "any certificate", certificate: .other, result: "\(taken) default TLSv1.3 no"),
        Case(name: "no TLS", certificate: nil, result: "\(taken) default none no", report: [.notSupported]),
        // DANE
        Case(name: "DANE-EE key", records: [(3, 1, 1, .good)], result: "\(taken) dane TLSv1.3 dane-ee"),
        Case(name: "DANE-EE certificate", records: [(3, 0, 2, .good)], result: "\(taken) dane TLSv1.3 dane-ee"),
        Case(name: "DANE-EE whole", records: [(3, 0, 0, .good)], result: "\(taken) dane TLSv1.3 dane-ee"),
        Case(
            name: "DANE-EE of another name",
            certificate: .other,
            records: [(3, 1, 1, .other)],
            result: "\(taken) dane TLSv1.3 dane-ee"
        ),
        Case(
            name: "DANE-EE that has expired",
            certificate: .expired,
            records: [(3, 1, 1, .expired)],
            result: "\(taken) dane TLSv1.3 dane-ee"
        ),
        Case(
            name: "DANE-EE by itself",
            certificate: .own,
            records: [(3, 1, 2, .own)],
            result: "\(taken) dane TLSv1.3 dane-ee"
        ),
        Case(
            name: "wrong digest",
            records: [(3, 1, 1, .other)],
            result: "\(waits) dane none no",
            report: [.tlsaInvalid]
        ),
        Case(
            name: "one of two records",
            records: [(3, 1, 1, .other), (3, 1, 1, .good)],
            result: "\(taken) dane TLSv1.3 dane-ee"
        ),
        Case(name: "DANE-TA", records: [(2, 0, 1, nil)], result: "\(taken) dane TLSv1.3 dane-ta"),
        Case(
            name: "DANE-TA, the domain's name",
            certificate: .domain,
            records: [(2, 1, 1, nil)],
            result: "\(taken) dane TLSv1.3 dane-ta"
        ),
        Case(
            name: "DANE-TA, a strange name",
            certificate: .other,
            records: [(2, 0, 1, nil)],
            result: "\(waits) dane none no",
            report: [.hostMismatch]
        ),
        Case(
            name: "DANE-TA, expired",
            certificate: .expired,
            records: [(2, 0, 1, nil)],
            result: "\(waits) dane none no",
            report: [.expired]
        ),
        Case(
            name: "PKIX usages are none",
            certificate: .other,
            records: [(0, 0, 1, nil), (1, 1, 1, .good)],
            result: "\(taken) dane TLSv1.3 no"
        ),
        Case(
            name: "unusable records want TLS",
            certificate: nil,
            records: [(1, 1, 1, .good)],
            result: "\(waits) dane none no",
            report: [.notSupported]
        ),
        Case(
            name: "DANE without STARTTLS",
            certificate: nil,
            records: [(3, 1, 1, .good)],
            result: "\(waits) dane none no",
            report: [.notSupported]
        ),
        Case(name: "TLSA can't be looked up", isUnknown: true, result: waits, report: [.dnssecInvalid]),
        // MTA-STS
        Case(name: "enforce", sts: .enforce, result: "\(taken) mta-sts TLSv1.3 pkix"),
        Case(name: "enforce, wildcard", sts: .enforce, patterns: ["*.a.net"], result: "\(taken) mta-sts TLSv1.3 pkix"),
        Case(name: "enforce, wrong MX", sts: .enforce, patterns: ["mx2.a.net"], result: waits, report: [.validation]),
        Case(
            name: "enforce, wildcard too deep",
            sts: .enforce,
            patterns: ["*.net"],
            result: waits,
            report: [.validation]
        ),
        Case(
            name: "enforce, wrong name",
            certificate: .other,
            sts: .enforce,
            result: "\(waits) mta-sts none no",
            report: [.hostMismatch]
        ),
        Case(
            name: "enforce, expired",
            certificate: .expired,
            sts: .enforce,
            result: "\(waits) mta-sts none no",
            report: [.expired]
        ),
        Case(
            name: "enforce, by itself",
            certificate: .own,
            sts: .enforce,
            result: "\(waits) mta-sts none no",
            report: [.notTrusted]
        ),
        Case(
            name: "enforce, no TLS",
            certificate: nil,
            sts: .enforce,
            result: "\(waits) mta-sts none no",
            report: [.notSupported]
        ),
        Case(name: "testing, good", sts: .testing, result: "\(taken) mta-sts TLSv1.3 pkix"),
        Case(
            name: "testing, wrong name",
            certificate: .other,
            sts: .testing,
            result: "\(taken) mta-sts TLSv1.3 no",
            report: [.hostMismatch]
        ),
        Case(
            name: "testing, wrong MX",
            sts: .testing,
            patterns: ["mx2.a.net"],
            result: "\(taken) mta-sts TLSv1.3 no",
            report: [.validation]
        ),
        Case(
            name: "testing, no TLS",
            certificate: nil,
            sts: .testing,
            result: "\(taken) mta-sts none no",
            report: [.notSupported]
        ),
        Case(name: "none", certificate: .other, sts: MTASTSPolicy.Mode.none, result: "\(taken) default TLSv1.3 no"),
        // Both
        Case(
            name: "DANE stands in for authorities",
            certificate: .own,
            records: [(3, 1, 1, .own)],
            sts: .enforce,
            patterns: ["mx2.a.net"],
            result: "\(taken) dane TLSv1.3 dane-ee"
        ),
        Case(
            name: "MTA-STS doesn't help against DANE",
            records: [(3, 1, 1, .other)],
            sts: .enforce,
            result: "\(waits) dane none no",
            report: [.tlsaInvalid]
        ),
        Case(
            name: "records that can't be used leave MTA-STS",
            certificate: .other,
            records: [(1, 1, 1, .other)],
            sts: .enforce,
            result: "\(waits) mta-sts none no",
            report: [.hostMismatch]
        ),
        // The administrator
        Case(
            name: "clear text",
            records: [(3, 1, 1, .other)],
            rule: "\"none\"",
            result: "\(taken) configured none no",
            report: []
        ),
        Case(
            name: "a floor is no ceiling",
            records: [(3, 1, 1, .other)],
            rule: "\"encrypt\"",
            result: "\(waits) dane none no",
            report: [.tlsaInvalid]
        ),
        Case(
            name: "what is published may be left out",
            records: [(3, 1, 1, .other)],
            rule: "{ level = \"encrypt\", published = false }",
            result: "\(taken) configured TLSv1.3 no"
        ),
        Case(name: "dane-only", rule: "\"dane-only\"", result: waits, report: [.daneRequired]),
        Case(
            name: "dane-only with records",
            records: [(3, 1, 1, .good)],
            rule: "\"dane-only\"",
            result: "\(taken) dane TLSv1.3 dane-ee"
        ),
        Case(name: "verify, below the domain", rule: "\"verify\"", result: "\(taken) configured TLSv1.3 pkix"),
        Case(
            name: "verify, unsigned MX elsewhere",
            certificate: .other,
            rule: "\"verify\"",
            host: "other.net",
            result: "\(waits) configured none no",
            report: [.hostMismatch]
        ),
        Case(
            name: "verify, the domain's name",
            certificate: .domain,
            rule: "\"verify\"",
            result: "\(taken) configured TLSv1.3 pkix"
        ),
        Case(
            name: "verify, signed MX",
            rule: "\"verify\"",
            isAssured: true,
            result: "\(taken) configured TLSv1.3 pkix"
        ),
        Case(
            name: "verify, named",
            certificate: .other,
            rule: "{ level = \"verify\", names = [\".net\"] }",
            result: "\(taken) configured TLSv1.3 pkix"
        ),
        Case(
            name: "verify, named, and enforce",
            sts: .enforce,
            rule: "{ level = \"verify\", names = [\".net\"] }",
            result: "\(taken) mta-sts TLSv1.3 pkix"
        ),
        Case(
            name: "verify, named otherwise, and enforce",
            sts: .enforce,
            rule: "{ level = \"verify\", names = [\"other.net\", \".other.net\"] }",
            result: "\(waits) mta-sts none no",
            report: [.hostMismatch]
        ),
        Case(
            name: "verify, named, and not as enforced",
            certificate: .other,
            sts: .enforce,
            rule: "{ level = \"verify\", names = [\"other.net\"] }",
            result: "\(waits) mta-sts none no",
            report: [.hostMismatch]
        ),
        Case(
            name: "wrong fingerprint",
            rule: "{ level = \"fingerprint\", fingerprints = [\"\(String(repeating: "0", count: 64))\"] }",
            result: "\(waits) configured none no",
            report: [.validation]
        ),
        Case(
            name: "right fingerprint",
            certificate: .own,
            rule: "{ level = \"fingerprint\", fingerprints = [\"OWN\"] }",
            result: "\(taken) configured TLSv1.3 fingerprint"
        ),
        // The sender (RFC 8689)
        Case(
            name: "REQUIRETLS by DANE",
            certificate: .own,
            records: [(3, 1, 1, .own)],
            isAssured: true,
            sender: "<a@example.test> REQUIRETLS",
            result: "\(taken) dane TLSv1.3 dane-ee"
        ),
        // The sender wants it to arrive.
        Case(
            name: "TLS-Required, wrong digest",
            records: [(3, 1, 1, .other)],
            field: "TLS-REQUIRED:\r\n no \r\n",
            result: "\(taken) default TLSv1.3 no"
        ),
        Case(
            name: "TLS-Required, TLSA records unknown",
            isUnknown: true,
            field: "TLS-Required: No\r\n",
            result: "\(taken) default TLSv1.3 no"
        ),
        Case(
            name: "TLS-Required, MTA-STS without STARTTLS",
            certificate: nil,
            sts: .enforce,
            field: "TLS-Required: No\r\n",
            result: "\(taken) default none no",
            report: [.notSupported]
        ),
        Case(
            name: "TLS-Required with another value",
            records: [(3, 1, 1, .other)],
            field: "TLS-Required: Nope\r\n",
            result: "\(waits) dane none no",
            report: [.tlsaInvalid]
        ),
        Case(
            name: "TLS-Required, but dane-only is yours",
            records: [(3, 1, 1, .other)],
            rule: "\"dane-only\"",
            field: "TLS-Required: No\r\n",
            result: "\(waits) dane none no",
            report: [.tlsaInvalid]
        ),
        Case(
            name: "TLS-Required and REQUIRETLS",
            records: [(3, 1, 1, .other)],
            sender: "<a@example.test> REQUIRETLS",
            field: "TLS-Required: No\r\n",
            result: "failed 5.7.30 dane none no",
            report: [.tlsaInvalid]
        ),
        Case(
            name: "REQUIRETLS by MTA-STS",
            sts: .enforce,
            sender: "<a@example.test> REQUIRETLS",
            result: "\(taken) mta-sts TLSv1.3 pkix"
        ),
        Case(
            name: "REQUIRETLS by authorities",
            isAssured: true,
            sender: "<a@example.test> REQUIRETLS",
            result: "\(taken) requiretls TLSv1.3 pkix"
        ),
        Case(
            name: "REQUIRETLS, unsigned MX",
            sender: "<a@example.test> REQUIRETLS",
            result: "failed 5.7.30"
        ),
    ]

    private static let authority = try? TestAuthority()

    @Test(arguments: cases) func policies(_ one: Case) async throws {
        let authority = try #require(Self.authority)
        let stage = try await Stage(one, authority)
        let result = try await stage.deliver()
        let security = result.security.map { " \($0.policy) \($0.version ?? "none") \($0.proof ?? "no")" }
        #expect("\(result.action.rawValue) \(result.status)\(security ?? "")" == one.result, "\(result.summary)")
        #expect(stage.reports.compactMap(\.failure) == one.report)
        if result.action != .relayed { #expect(stage.server.messages.isEmpty) }
        if result.action == .relayed, one.certificate != nil, !one.rule.contains("none") {
            #expect(stage.server.commands.contains("STARTTLS"))
        }
        await stage.shutDown()
    }

    /// What is asked of a session decides whether it's used again, and whether TLS resumes one.
    @Test func sessionsAreUsedAgainOnTheirTermsAlone() async throws {
        let authority = try #require(Self.authority)
        let stage = try await Stage(Case(name: "", result: ""), authority)
        _ = try await stage.deliver()
        _ = try await stage.deliver()
        #expect(stage.server.connections == 1)
        let (record, wrong) = (try authority.record(3, 1, 1, .good), try authority.record(3, 1, 1, .own))
        stage.change { $0.associations = .records([record], names: ["mx.a.net"]) }
        #expect(try await stage.deliver().security?.proof == "dane-ee")
        #expect(stage.server.connections == 2 && stage.server.resumptions == 0)
        stage.change { $0.associations = .records([wrong], names: ["mx.a.net"]) }
        #expect(try await stage.deliver().status == .encryptionNeeded)
        await stage.shutDown()
    }

    @Test func handshakesAreResumedOnTheirTermsAlone() async throws {
        let authority = try #require(Self.authority)
        // What has shown the host is known of a session that is resumed, too.
        let records = [try authority.record(2, 0, 1, nil), try authority.record(3, 1, 1, .good)]
        let stage = try await Stage(Case(name: "", general: "reuse-time = \"0s\"", result: ""), authority)
        for _ in 0..<2 { #expect(try await stage.deliver().action == .relayed) }
        #expect(stage.server.resumptions == 1)
        stage.change { $0.associations = .records(records, names: ["mx.a.net"]) }
        for resumptions in [1, 2] {
            #expect(try await stage.deliver().security?.proof == "dane-ee")
            #expect(stage.server.resumptions == resumptions)
        }
        #expect(stage.server.connections == 4)
        await stage.shutDown()
    }
}

/// A relay, and one host that it knows of.
private final class Stage: Sendable {
    let server: ScriptedServer
    private let relay: Relay
    private let listener: Listener
    private let loop: any EventLoop
    private let target: NIOLockedValueBox<Target>
    private let sender: String
    private let field: String
    private let finding: MTASTSPolicies.Finding
    private let reported = NIOLockedValueBox<[ReportedResult]>([])

    init(_ one: TLSPolicyTests.Case, _ authority: TestAuthority) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        self.loop = loop
        var script = ScriptedServer.Script()
        if let certificate = one.certificate {
            script.replies["EHLO"] = ["250-sink\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n"]
            script.replies["STARTTLS"] = ["220 go\r\n"]
            script.tls = try authority.server(certificate)
        }
        let server = ScriptedServer(script)
        self.server = server
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        listener = Listener(group: loop)
        try await listener.accept(on: socket) { await server.serve($0) }
        var target = Target(host: one.host, address: try SocketAddress(ipAddress: "127.0.0.1", port: port))
        target.isAssured = one.isAssured
        if !one.records.isEmpty {
            let records = try one.records.map { try authority.record($0, $1, $2, $3) }
            target.associations = .records(records, names: ["mx.a.net", "a.net"])
        }
        if one.isUnknown { target.associations = .unknown("SERVFAIL") }
        self.target = NIOLockedValueBox(target)
        sender = one.sender
        field = one.field
        finding = .init(
            policy: one.sts.map {
                MTASTSPolicy(mode: $0, maximumAge: 86400, patterns: one.patterns.map { Array($0.utf8) })
            }
        )
        let rule = one.rule.replacing("OWN", with: try authority.fingerprint(.own))
        let settings = try testSettings(
            "\(one.general)\n\(rule.isEmpty ? "" : "[remote-relay.tls-policy]\n\"a.net\" = \(rule)")"
        )
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let lookup = HostLookup(settings: settings, logger: logger) { (_, _) async throws(ResolutionError) in
            throw .unavailable("no DNS here")
        }
        let reported = reported
        let context = try authority.client()
        relay = Relay(
            settings: settings,
            lookup: lookup,
            security: RelaySecurity(context, hasAuthorities: true, on: loop),
            reports: TLSReports(settings) { result in reported.withLockedValue { $0.append(result) } },
            loop: loop,
            logger: logger
        )
    }

    var reports: [TLSSessionResult] {
        reported.withLockedValue { $0 }.compactMap { if case .tls(let session) = $0 { session } else { nil } }
    }

    func change(_ body: (inout Target) -> Void) { target.withLockedValue { body(&$0) } }

    func deliver() async throws -> DeliveryResult {
        let request = DeliverRequest(
            id: "1",
            attempt: 1,
            arrived: 0,
            mayBeKnown: false,
            sender: try EnvelopeSender(parsing: sender.utf8),
            recipients: [try EnvelopeRecipient(parsing: "<b@a.net>".utf8)],
            destination: "a.net",
            added: ByteBuffer(),
            octets: 0,
            message: nil
        )
        let message = ByteBuffer(string: field + DeliveryTests.message)
        let (loop, relay, finding) = (loop, relay, finding)
        let target = target.withLockedValue { $0 }
        let result = NIOLockedValueBox<DeliveryResult?>(nil)
        await Task(executorPreference: LoopExecutor.of(loop)) {
            let source = MessageSource(added: ByteBuffer(), message: message, on: loop)
            let job = DeliveryJob(request, source, on: loop) { _, one in result.withLockedValue { $0 = one } }
            await relay.deliver(job, to: [target], finding)
        }.value
        return try #require(result.withLockedValue { $0 })
    }

    func shutDown() async {
        let relay = relay
        try? await loop.submit { relay.close() }.get()
        await listener.shutDown(grace: .seconds(1))
    }
}
