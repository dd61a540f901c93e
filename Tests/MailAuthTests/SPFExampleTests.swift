import DNS
import MailAuth
import Testing

/// RFC 7208 appendix A: its zones, and what its records are said to mean.
@Suite struct SPFExampleTests {
    private static let zoneText = """
        example.com. MX 10 mail-a.example.com.
        example.com. MX 20 mail-b.example.com.
        example.com. A 192.0.2.10
        example.com. A 192.0.2.11
        amy.example.com. A 192.0.2.65
        bob.example.com. A 192.0.2.66
        mail-a.example.com. A 192.0.2.129
        mail-b.example.com. A 192.0.2.130
        www.example.com. CNAME example.com.
        example.org. MX 10 mail-c.example.org.
        mail-c.example.org. A 192.0.2.140
        10.2.0.192.in-addr.arpa. PTR example.com.
        11.2.0.192.in-addr.arpa. PTR example.com.
        65.2.0.192.in-addr.arpa. PTR amy.example.com.
        66.2.0.192.in-addr.arpa. PTR bob.example.com.
        129.2.0.192.in-addr.arpa. PTR mail-a.example.com.
        130.2.0.192.in-addr.arpa. PTR mail-b.example.com.
        140.2.0.192.in-addr.arpa. PTR mail-c.example.org.
        4.0.0.10.in-addr.arpa. PTR bob.example.com.
        """

    private static let hosts = [
        "192.0.2.10", "192.0.2.11", "192.0.2.65", "192.0.2.66", "192.0.2.129", "192.0.2.130", "192.0.2.140",
        "192.0.2.131", "192.0.2.143", "192.0.2.144", "10.0.0.4", "203.0.113.1",
    ]

    private func passing(_ text: String, sender: String, hosts: [String]) async throws -> [String] {
        var passing: [String] = []
        for host in hosts {
            let address = try #require(AddressText.parse4(octets(host)))
            let query = SPFQuery(address: address, mailFrom: octets(sender), helo: octets("helo.example"))
            let outcome = await SPFCheck.run(query, lookup: try zone(Self.zoneText + "\n" + text))
            #expect(outcome.result == .pass || outcome.result == .fail, "\(host): \(outcome.reason)")
            if outcome.result == .pass { passing.append(host) }
        }
        return passing
    }

    @Test(arguments: [
        ("+all", hosts), ("a -all", ["192.0.2.10", "192.0.2.11"]), ("a:example.org -all", []),
        ("mx -all", ["192.0.2.129", "192.0.2.130"]), ("mx:example.org -all", ["192.0.2.140"]),
        ("mx mx:example.org -all", ["192.0.2.129", "192.0.2.130", "192.0.2.140"]),
        (
            "mx/30 mx:example.org/30 -all",
            ["192.0.2.129", "192.0.2.130", "192.0.2.140", "192.0.2.131", "192.0.2.143"]
        ),
        (
            "ptr -all",
            ["192.0.2.10", "192.0.2.11", "192.0.2.65", "192.0.2.66", "192.0.2.129", "192.0.2.130"]
        ),
        (
            "ip4:192.0.2.128/28 -all",
            ["192.0.2.129", "192.0.2.130", "192.0.2.140", "192.0.2.131", "192.0.2.143"]
        ),
    ]) func simpleExamples(_ terms: String, _ expected: [String]) async throws {
        let text = "example.com. TXT \"v=spf1 \(terms)\""
        #expect(try await passing(text, sender: "ann@example.com", hosts: Self.hosts) == expected)
    }

    @Test func multipleDomains() async throws {
        let text = """
            example.org. TXT "v=spf1 include:example.com include:example.net -all"
            la.example.org. TXT "v=spf1 redirect=example.org"
            example.com. TXT "v=spf1 a -all"
            example.net. TXT "v=spf1 ip4:203.0.113.0/24 -all"
            """
        for sender in ["ann@example.org", "ann@la.example.org"] {
            #expect(
                try await passing(text, sender: sender, hosts: Self.hosts)
                    == ["192.0.2.10", "192.0.2.11", "203.0.113.1"]
            )
        }
    }

    @Test func listsInTheDNS() async throws {
        let text = """
            example.com. TXT "v=spf1 mx include:mobile-users._spf.%{d} include:remote-users._spf.%{d} -all"
            mobile-users._spf.example.com. TXT "v=spf1 exists:%{l1r+}.%{d}"
            remote-users._spf.example.com. TXT "v=spf1 exists:%{ir}.%{l1r+}.%{d}"
            mary.mobile-users._spf.example.com. A 127.0.0.2
            fred.mobile-users._spf.example.com. A 127.0.0.2
            15.15.168.192.joel.remote-users._spf.example.com. A 127.0.0.2
            16.15.168.192.joel.remote-users._spf.example.com. A 127.0.0.2
            """
        let hosts = ["192.0.2.129", "192.168.15.15", "192.168.15.16", "192.168.15.17"]
        #expect(try await passing(text, sender: "mary@example.com", hosts: hosts) == hosts)
        #expect(try await passing(text, sender: "fred+tag@example.com", hosts: hosts) == hosts)
        #expect(try await passing(text, sender: "joel@example.com", hosts: hosts) == hosts.dropLast())
        #expect(try await passing(text, sender: "ann@example.com", hosts: hosts) == ["192.0.2.129"])
    }

    @Test func multipleRequirements() async throws {
        let text = """
            example.com. TXT "v=spf1 -include:ip4._spf.%{d} -include:ptr._spf.%{d} +all"
            ip4._spf.example.com. TXT "v=spf1 -ip4:192.0.2.0/24 +all"
            ptr._spf.example.com. TXT "v=spf1 -ptr:example.com +all"
            """
        #expect(
            try await passing(text, sender: "ann@example.com", hosts: ["192.0.2.65", "192.0.2.140", "10.0.0.4"])
                == ["192.0.2.65"]
        )
    }
}
