import Front
import Daemon
import NIOCore
import Network
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

    @Test func wrongNetworkIsNamed() {
        #expect {
            _ = try configuration("relay-from = [\"192.0.2.1/24\"]")
        } throws: { error in
            "\(error)".contains("smtpd.relay-from") && "\(error)".contains("192.0.2.1/24")
        }
    }
}
