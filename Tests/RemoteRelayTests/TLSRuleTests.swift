import Daemon
import MailAuth
import NIOCore
import SMTP
import Testing

@testable import RemoteRelay

/// Which line says what is wanted of TLS.
@Suite struct TLSRuleTests {
    private func settings(_ rules: String) throws -> RelaySettings {
        let text = """
            hostname = "mail.example.test"
            [remote-relay.tls-policy]
            \(rules)
            """
        return RelaySettings(try Configuration(text: text, file: "test"), interfaces: [])
    }

    /// - Parameter route: what its route has beside hosts and credentials; nil where it has none.
    private func target(isAssured: Bool, route: String? = nil) throws -> Target {
        var target = Target(host: "mx.a.net", address: try SocketAddress(ipAddress: "192.0.2.1", port: 25))
        target.isAssured = isAssured
        target.route = try route.flatMap {
            try testRoute(
                to: "routed.example",
                "\"routed.example\" = { hosts = [\"mx.a.net:25\"], credentials = \"isp\"\($0) }"
            )
        }
        return target
    }

    /// Secrets go to a host that is verified, whatever stands there for the recipients' domain or for all.
    @Test(arguments: ["", "\"*\" = \"encrypt\"", "\"routed.example\" = \"may\"", "\"mx.a.net\" = \"none\""])
    func secretsGoToVerifiedHosts(_ rules: String) throws {
        let settings = try settings(rules)
        let target = try target(isAssured: true, route: "")
        #expect(settings.rule(for: target, of: "routed.example").rule.level == .verify)
        let other = try self.target(isAssured: true, route: ", tls = \"encrypt\"")
        #expect(settings.rule(for: other, of: "routed.example").rule.level == .encrypt)
    }

    /// A name that somebody may have made up asks for no less.
    @Test func aForgedHostNameLoosensNothing() throws {
        let settings = try settings("\"mx.a.net\" = \"none\"")
        #expect(settings.rule(for: try target(isAssured: true), of: "x.example").rule.level == .none)
        let (rule, isStandard) = settings.rule(for: try target(isAssured: false), of: "x.example")
        #expect(rule.level == .may && rule.usesPublished && isStandard)
        let strict = try self.settings("\"mx.a.net\" = \"encrypt\"")
        #expect(strict.rule(for: try target(isAssured: false), of: "x.example").rule.level == .encrypt)
    }

    /// One line doesn't take from another what makes it strict.
    @Test func looseLinesLeaveStrictOnesAlone() throws {
        let settings = try settings("\"a.example\" = \"dane-only\"\n\"*\" = \"none\"\n\"b.example\" = \"encrypt\"")
        let target = try target(isAssured: true)
        #expect(settings.rule(for: target, of: "a.example").rule.level == .daneOnly)
        #expect(settings.rule(for: target, of: "a.example").rule.usesPublished)
        #expect(settings.rule(for: target, of: "b.example").rule.usesPublished)
        #expect(throws: SMTPClient.Failure.self) {
            try PolicyDecision(rule: settings.rule(for: target, of: "a.example").rule).policy(for: target)
        }
    }

    @Test func internationalDomainsHaveOneForm() throws {
        for line in ["bücher.example", "xn--bcher-kva.example"] {
            let settings = try settings("\"\(line)\" = \"verify\"\n\".\(line)\" = \"encrypt\"")
            let target = try target(isAssured: false)
            for domain in ["bücher.example", "xn--bcher-kva.example", "XN--BCHER-KVA.example"] {
                #expect(settings.rule(for: target, of: domain).rule.level == .verify, "\(line), \(domain)")
                #expect(settings.rule(for: target, of: "a.\(domain)").rule.level == .encrypt, "\(line), \(domain)")
            }
        }
    }

    /// What can't be looked up now is no reason to send mail back.
    @Test func requiredTLSWaitsForThePolicy() throws {
        let target = try target(isAssured: false)
        func fault(isKnown: Bool) throws -> DeliveryResult.Action? {
            var decision = PolicyDecision(rule: RelayTLSRule(.may))
            (decision.isSTSKnown, decision.requiresTLS) = (isKnown, true)
            do throws(SMTPClient.Failure) {
                _ = try decision.policy(for: target)
                return nil
            } catch {
                return DeliveryResult(error, with: target.remote, scope: .recipient).action
            }
        }
        #expect(try fault(isKnown: true) == .failed)
        #expect(try fault(isKnown: false) == .delayed)
    }
}
