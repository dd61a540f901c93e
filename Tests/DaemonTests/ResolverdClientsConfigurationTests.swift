import Network
import Testing

@testable import Daemon

struct ResolverdClientsConfigurationTests {
    private func clients(_ text: String) throws -> ResolverdClientsConfiguration {
        try Configuration(text: "hostname = \"a\"\n[resolverd]\n\(text)\n", file: "martlet.toml").resolverd.clients
    }

    @Test func defaults() throws {
        let clients = try clients("")
        #expect(clients.cookies)
        #expect(!clients.requireCookies)
        #expect(clients.allowQuery == nil)
        #expect(clients.dns64 == nil)
        #expect(clients.identity == [])
        #expect(clients.rateLimitExempt.contains { $0.contains([127, 0, 0, 1]) })
    }

    @Test func whoIsExempt() throws {
        let some = try clients("allow-recursion = [\"192.0.2.0/24\"]")
        #expect(some.rateLimitExempt.contains { $0.contains([192, 0, 2, 1]) })
        #expect(!some.rateLimitExempt.contains { $0.contains([192, 0, 3, 1]) })
        let everybody = try clients("allow-recursion = [\"0.0.0.0/0\"]")
        #expect(!everybody.rateLimitExempt.contains { $0.contains([192, 0, 2, 1]) })
        let none = try clients("rate-limit-exempt = []")
        #expect(none.rateLimitExempt.isEmpty)
    }

    @Test func identities() throws {
        #expect(try clients("nsid = \"ns1\"").identity == Array("ns1".utf8))
        #expect(try clients("nsid = \"0x00ff\"").identity == [0, 255])
    }

    @Test func prefixes() throws {
        let dns64 = try clients("dns64 = \"64:ff9b::/96\"\ndns64-clients = [\"2001:db8::/32\"]").dns64
        #expect(dns64?.prefix.bits == 96)
        #expect(dns64?.clients?.count == 1)
        #expect(dns64?.excluded.isEmpty == true)
    }

    @Test(arguments: [
        "nsid = \"0x123\"", "dns64 = \"64:ff9b::/95\"", "dns64 = \"192.0.2.0/24\"", "dns64 = \"2001:db8:0:0:100::/96\"",
        "rate-limit = -1", "allow-query = [\"nobody\"]", "allow-query = [\"key unknown\"]",
        "cookies = false\nrequire-cookies = true",
        "rate-limit-exempt = [\"x\"]", "maximum-pending-per-client = 0", "trust-anchor-updates = \"perhaps\"",
    ])
    func whatIsRefused(_ text: String) {
        #expect(throws: ConfigurationError.self) { _ = try clients(text) }
    }
}
