import Daemon
import MailAuth
import NIOCore
import SMTP
import Testing

@testable import RemoteRelay

/// Which line says what is wanted of TLS.
@Suite struct TLSRuleTests {
    private func settings(_ rules: String, route: String = "", general: String = "") throws -> RelaySettings {
        let text = """
            hostname = "mail.example.test"
            [tls.pairs]
            a = {}
            b = {}
            c = {}
            [remote-relay]
            \(general)
            [remote-relay.routes]
            "routed.example" = { hosts = ["mx.a.net:25"], credentials = "isp"\(route) }
            [remote-relay.tls-policy]
            \(rules)
            """
        return RelaySettings(try Configuration(text: text, file: "test"), interfaces: [])
    }

    private func target(_ settings: RelaySettings, isAssured: Bool, isRouted: Bool = false) throws -> Target {
        var target = Target(host: "mx.a.net", address: try SocketAddress(ipAddress: "192.0.2.1", port: 25))
        target.isAssured = isAssured
        if isRouted, case .hosts(let route) = settings.routes.route(for: "routed.example") { target.route = route }
        return target
    }

    /// Secrets go to a host that is verified, whatever stands there for the recipients' domain or for all.
    @Test(arguments: ["", "\"*\" = \"encrypt\"", "\"routed.example\" = \"may\"", "\"mx.a.net\" = \"none\""])
    func secretsGoToVerifiedHosts(_ rules: String) throws {
        let settings = try settings(rules)
        let target = try target(settings, isAssured: true, isRouted: true)
        #expect(settings.rule(for: target, of: "routed.example").rule.level == .verify)
        let own = try self.settings(rules, route: ", tls = \"encrypt\"")
        let other = try self.target(own, isAssured: true, isRouted: true)
        #expect(own.rule(for: other, of: "routed.example").rule.level == .encrypt)
    }

    /// A name that somebody may have made up asks for no less.
    @Test func aForgedHostNameLoosensNothing() throws {
        let settings = try settings("\"mx.a.net\" = \"none\"")
        #expect(settings.rule(for: try target(settings, isAssured: true), of: "x.example").rule.level == .none)
        let (rule, isStandard) = settings.rule(for: try target(settings, isAssured: false), of: "x.example")
        #expect(rule.level == .may && rule.usesPublished && isStandard)
        let strict = try self.settings("\"mx.a.net\" = \"encrypt\"")
        #expect(strict.rule(for: try target(strict, isAssured: false), of: "x.example").rule.level == .encrypt)
    }

    /// One line doesn't take from another what makes it strict.
    @Test func looseLinesLeaveStrictOnesAlone() throws {
        let settings = try settings("\"a.example\" = \"dane-only\"\n\"*\" = \"none\"\n\"b.example\" = \"encrypt\"")
        let target = try target(settings, isAssured: true)
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
            let target = try target(settings, isAssured: false)
            for domain in ["bücher.example", "xn--bcher-kva.example", "XN--BCHER-KVA.example"] {
                #expect(settings.rule(for: target, of: domain).rule.level == .verify, "\(line), \(domain)")
                #expect(settings.rule(for: target, of: "a.\(domain)").rule.level == .encrypt, "\(line), \(domain)")
            }
        }
    }

    /// Of what stands in several places, the nearest counts.
    @Test func aHostIsShownOneCertificate() throws {
        let rules =
            "\"routed.example\" = { level = \"may\", client-certificate = \"b\" }\n\"mx.a.net\" = "
            + "{ level = \"may\", client-certificate = \"c\" }\n\"no.example\" = { level = \"may\", client-certificate = \"\" }"
        func shown(_ domain: String, route: String = "", rules: String = rules) throws -> String? {
            let settings = try settings(rules, route: route, general: "client-certificate = \"a\"")
            let target = try target(settings, isAssured: false, isRouted: !route.isEmpty)
            return settings.clientCertificate(for: target, of: domain)
        }
        #expect(try shown("x.example", rules: "") == "a")
        #expect(try shown("x.example") == "c")
        #expect(try shown("routed.example") == "b")
        #expect(try shown("routed.example", route: ", client-certificate = \"a\"") == "a")
        #expect(try shown("routed.example", route: ", client-certificate = \"\"") == nil)
        #expect(try shown("no.example") == nil)
        let none = try settings("")
        let anybody = try target(none, isAssured: true)
        #expect(none.clientCertificate(for: anybody, of: "x.example") == nil)
    }

    /// What can't be looked up now is no reason to send mail back.
    @Test func requiredTLSWaitsForThePolicy() throws {
        let target = try target(try settings(""), isAssured: false)
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
