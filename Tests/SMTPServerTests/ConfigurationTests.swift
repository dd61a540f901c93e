import Front
import Daemon
import NIOCore
import Network
import MailRules
import Policy
import SASL
import SMTP
import Testing

@testable import SMTPServer

@Suite struct ConfigurationTests {
    private func configuration(_ smtpd: String) throws -> Configuration {
        try Configuration(
            text: "hostname = \"mail.example.test\"\ndomains = [\"Example.test\"]\n[smtpd]\n\(smtpd)\n",
            file: "martlet.toml"
        )
    }

    @Test func everyKeyReachesTheSession() throws {
        let settings = ServerSettings(
            try configuration(
                """
                maximum-message = "1MiB"
                maximum-recipients = 7
                maximum-hops = 8
                maximum-line = 998
                maximum-errors = 9
                error-delay = "3s"
                idle-timeout = "1m"
                session-timeout = "2m"
                greeting-delay = "4s"
                recipient-cache = "5s"
                enforce-sender = true
                relay-from = ["192.0.2.0/24", "::1"]
                """
            )
        )
        #expect(settings.hostname == "mail.example.test")
        #expect(settings.limits.message == 1 << 20)
        #expect(settings.limits.recipients == 7)
        #expect(settings.limits.hops == 8)
        #expect(settings.limits.textLine == 998)
        #expect(settings.front.maximumErrors == 9)
        #expect(settings.front.errorDelay == .seconds(3))
        #expect(settings.front.idleTimeout == .minutes(1))
        #expect(settings.front.sessionTimeout == .minutes(2))
        #expect(settings.limits.greetingDelay == .seconds(4))
        #expect(settings.recipientCache == .seconds(5))
        #expect(settings.enforcesSender)
        #expect(settings.relayFrom == [AddressRange("192.0.2.0/24"), AddressRange("::1")])
    }

    /// A listener has its own settings in place of those of all, also within tables.
    @Test func listenersDiffer() throws {
        let settings = ServerSettings(
            try configuration(
                """
                maximum-message = "1MiB"
                maximum-errors = 9
                maximum-connections = 50
                disabled-extensions = ["LIMITS"]
                policy = "reject if sender a.test"
                [smtpd.authentication]
                timeout = "7s"
                follow-dmarc = false
                [smtpd.listener.submission]
                maximum-message = "2MiB"
                maximum-connections = 5
                disabled-extensions = ["DSN"]
                policy = "accept"
                mechanisms = ["PLAIN"]
                [smtpd.listener.smtp]
                require-tls = true
                relay-from = ["192.0.2.0/24"]
                [smtpd.listener.smtp.authentication]
                timeout = "9s"
                [smtpd.listener.lmtp]
                proxy-protocol = ["192.0.2.1/32"]
                """
            )
        )
        let (smtp, submission, lmtp) = (
            settings.settings(of: .smtp), settings.settings(of: .submission), settings.settings(of: .lmtp)
        )
        #expect(submission.limits.message == 2 << 20 && smtp.limits.message == 1 << 20)
        #expect(submission.front.connections.connections == 5 && smtp.front.connections.connections == 50)
        #expect([smtp, submission, lmtp].allSatisfy { $0.front.maximumErrors == 9 })
        #expect(submission.extensions(of: .submission).isDisjoint(with: [.dsn, .limits]))
        #expect(smtp.extensions(of: .smtp).contains(.dsn) && !smtp.extensions(of: .smtp).contains(.limits))
        #expect(submission.policy.rules.map(\.text) == ["accept"])
        #expect(lmtp.policy.rules.map(\.text) == ["reject if sender a.test"])
        #expect(submission.front.mechanisms == [.plain] && smtp.front.mechanisms.count > 1)
        #expect(smtp.requiresTLS && !submission.requiresTLS)
        #expect(smtp.relayFrom == [AddressRange("192.0.2.0/24")] && submission.relayFrom.isEmpty)
        #expect(smtp.authentication?.timeout == .seconds(9) && submission.authentication?.timeout == .seconds(7))
        #expect(smtp.authentication?.followsDMARC == false)
        #expect(settings.overrides[.lmtp] == nil && settings.listeners[.lmtp]?.proxies?.count == 1)
    }

    @Test(arguments: [
        ("[smtpd.listener.smtp]\nthreads = 1", "smtpd.listener.smtp.threads"),
        ("[smtpd.listener.smtp]\nsmtp = []", "smtpd.listener.smtp.smtp"),
        ("[smtpd.listener.smtp]\nlistener = 1", "smtpd.listener.smtp.listener"),
        ("[smtpd.listener.smtp]\nnonsense = 1", "smtpd.listener.smtp.nonsense: unknown key"),
        ("[smtpd.listener.smtp]\nmaximum-errors = 0", "smtpd.listener.smtp.maximum-errors"),
        ("[smtpd.listener.smtp]\npolicy = \"nonsense\"", "smtpd.listener.smtp.policy"),
        ("[smtpd.listener.smtp]\nmechanisms = [\"ROT13\"]", "smtpd.listener.smtp.mechanisms"),
        ("[smtpd.listener.smtp.authentication]\nnonsense = 1", "smtpd.listener.smtp.authentication.nonsense"),
        ("[smtpd.listener.imap]\nmaximum-errors = 3", "smtpd.listener.imap"),
        ("proxy-protocol = []", "smtpd.proxy-protocol"),
    ])
    func faultsOfListenersAreNamed(text: String, expected: String) {
        #expect {
            _ = try configuration(text)
        } throws: { "\($0)".contains(expected) }
    }

    @Test func wrongNetworkIsNamed() {
        #expect {
            _ = try configuration("relay-from = [\"192.0.2.1/24\"]")
        } throws: { error in
            "\(error)".contains("smtpd.relay-from") && "\(error)".contains("192.0.2.1/24")
        }
    }
}
