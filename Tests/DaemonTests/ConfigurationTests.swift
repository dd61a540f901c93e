import Daemon
import Logging
import NIOCore
import Testing

@Suite struct ConfigurationTests {
    private func load(_ text: String) throws -> Configuration {
        try Configuration(text: text, file: "martlet.toml")
    }

    private func failure(_ text: String) -> ConfigurationError? {
        do {
            _ = try load(text)
            return nil
        } catch {
            return error as? ConfigurationError
        }
    }

    @Test func leastConfigurationHasDefaults() throws {
        let configuration = try load("hostname = \"mail.example.test\"\n")
        #expect(configuration.hostname == "mail.example.test")
        #expect(configuration.domains.isEmpty)
        #expect(configuration.smtpd.maximumMessage == 50 << 20)
        #expect(configuration.queueManager.lifetime == .hours(120))
        #expect(configuration.systemUsers[.imapdMailbox] == "mlt-mail")
    }

    @Test func queueHasClassesAndDestinations() throws {
        let queue = try load(
            """
            hostname = "mail.example.test"
            [queue-manager]
            lifetime = "3d"
            retry-minimum = "2m"
            bulk-recipients = 50
            disabled-accounts = "return"
            [queue-manager.classes.bounce]
            retry-maximum = "8h"
            [queue-manager.classes.bulk]
            lifetime = "1d"
            delay-warning = "0s"
            [queue-manager.destinations."Example.NET"]
            concurrency = 3
            rate = "30/m"
            [queue-manager.destinations.".bücher.example"]
            concurrency = 2
            """
        ).queueManager
        #expect(DomainTable(queue.destinations)["shop.xn--bcher-kva.example"]?.concurrency == 2)
        #expect(queue.postmasterReports == 100)
        #expect(queue.bounce.lifetime == nil)
        #expect(queue.bounce.retryMaximum == .hours(8))
        #expect(queue.bulk.lifetime == .hours(24))
        #expect(queue.bulk.delayWarning == .zero)
        #expect(queue.bulkRecipients == 50)
        #expect(queue.disabledAccounts == .return)
        let own = try #require(queue.destinations["example.net"])
        #expect(own.concurrency == 3)
        #expect(own.interval == .seconds(2))
        #expect(own.times.lifetime == nil)
    }

    @Test(arguments: [
        "classes.bulk]\nretry-minimum = \"9h\"", "classes.bulk]\nconcurrency = 3", "classes.slow]\nlifetime = \"1d\"",
        "destinations.\"example.net\"]\nrate = \"0/s\"", "destinations.\"example.net\"]\nrate = \"9000000/s\"",
        "destinations.local]\nconcurrency = 3",
        "destinations.\"example.net\"]\nretry-maximum = \"1m\"", "destinations.\"example.net\"]\nspeed = 3",
    ]) func faultyClassOfTheQueueIsNamed(_ text: String) throws {
        let error = try #require(failure("hostname = \"mail.example.test\"\n[queue-manager.\(text)\n"))
        #expect(error.key?.hasPrefix("queue-manager.") == true)
    }

    @Test func valuesAreDecoded() throws {
        let configuration = try load(
            """
            hostname = "mail.example.test"
            domains = ["Example.TEST"]
            [log]
            level = "debug"
            [smtpd]
            smtp = ["127.0.0.1:2525", "[::1]:2525"]
            maximum-message = "1GiB"
            idle-timeout = "90s"
            [remote-relay.routes]
            "example.net" = "127.0.0.1:2599"
            """
        )
        #expect(configuration.domains == ["example.test"])
        #expect(configuration.logLevel == .debug)
        #expect(configuration.smtpd.smtp.map(\.port) == [2525, 2525])
        #expect(configuration.smtpd.maximumMessage == 1 << 30)
        #expect(configuration.smtpd.idleTimeout == .seconds(90))
    }

    @Test(arguments: [
        ("", nil, "hostname"),
        ("hostname = 7\n", 1, "hostname"),
        ("hostname = \"a b\"\n", 1, "hostname"),
        ("hostname = \"a\"\n\n[smtpd]\nmaximum-mesage = 1\n", 4, "smtpd.maximum-mesage"),
        ("hostname = \"a\"\n[smtpd]\nidle-timeout = \"5 parsecs\"\n", 3, "smtpd.idle-timeout"),
        ("hostname = \"a\"\n[smtpd]\nsmtp = [\n  \"127.0.0.1\"\n]\n", 3, "smtpd.smtp"),
        ("hostname = \"a\"\nsmtpd.maximum-errors = 0\n", 2, "smtpd.maximum-errors"),
        ("hostname = \"a\"\n[smpd]\n", 2, "smpd"),
        ("hostname = \"a\"\n[log]\nlevel = \"loud\"\n", 3, "log.level"),
        ("hostname = \"a\"\nsmtpd = 3\n", 2, "smtpd"),
        ("hostname = \"a\"\n[smtpd]\nmaximum-message = \"99999999999TiB\"\n", 3, "smtpd.maximum-message"),
    ])
    func faultsNameLineAndKey(text: String, line: Int?, key: String) {
        let error = failure(text)
        #expect(error?.file == "martlet.toml")
        #expect(error?.line == line)
        #expect(error?.key == key)
    }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1:53"), ("192.0.2.1:5353", "192.0.2.1:5353"), ("[2001:db8::1]", "[2001:db8::1]:53"),
        ("tcp://192.0.2.1", "tcp://192.0.2.1:53"), ("tls://192.0.2.1", "tls://192.0.2.1:853"),
        ("tls://[2001:db8::1]:8853#dns.example", "tls://[2001:db8::1]:8853#dns.example"),
        ("tls://192.0.2.1#dns.example", "tls://192.0.2.1:853#dns.example"),
    ])
    func forwardersAreAddressesWithTransports(_ text: String, _ whole: String) {
        #expect(ForwarderAddress(text)?.description == whole)
        #expect(ForwarderAddress(whole)?.description == whole)
    }

    @Test(arguments: [
        "", "dns.example", "tls://dns.example", "tls://192.0.2.1#", "tls://192.0.2.1#a b", "192.0.2.1#dns.example",
        "tcp://192.0.2.1#dns.example", "https://192.0.2.1", "tls://192.0.2.1:x#dns.example", "tls:192.0.2.1",
    ])
    func whatIsNoForwarder(_ text: String) {
        #expect(ForwarderAddress(text) == nil)
        let error = failure("hostname = \"a\"\n[resolverd]\nforwarders = [\"\(text)\"]\n")
        #expect(error?.key == "resolverd.forwarders")
    }

    @Test(arguments: ["", "dns-query", "/a?b", "/a b", "/a#b"]) func whatIsNoPath(_ text: String) {
        let error = failure("hostname = \"a\"\n[resolverd]\nhttps-path = \"\(text)\"\n")
        #expect(error?.key == "resolverd.https-path")
    }

    @Test func syntaxErrorHasItsLine() {
        #expect(failure("hostname = \"a\"\n= 3\n")?.line == 2)
    }

    @Test func missingFileIsAnError() {
        #expect(throws: ConfigurationError.self) { try Configuration.load("/nonexistent/martlet.toml") }
    }
}
