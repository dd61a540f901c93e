import DNS
import MailAuth
import Testing

/// The examples of RFC 7208 §7.4, looked up as names of `exists`.
@Suite struct SPFMacroTests {
    private func matches(_ macro: String, _ name: String, address: [UInt8] = [192, 0, 2, 3]) async throws -> Bool {
        let lookup = try zone(
            """
            email.example.com. TXT "v=spf1 exists:\(macro).end.test -all"
            \(name).end.test. A 127.0.0.2
            """
        )
        let query = SPFQuery(address: address, mailFrom: octets("strong-bad@email.example.com"), helo: octets("h.test"))
        return await SPFCheck.run(query, lookup: lookup).result == .pass
    }

    @Test(arguments: [
        ("%{o}", "email.example.com"), ("%{d}", "email.example.com"), ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"), ("%{d2}", "example.com"), ("%{d1}", "com"), ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"), ("%{l}", "strong-bad"), ("%{l-}", "strong.bad"), ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"), ("%{l1r-}", "strong"), ("%{h}", "h.test"), ("%{i}", "192.0.2.3"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"), ("%{D}", "email.example.com"),
        ("%{p}", "unknown"),
    ]) func ip4(_ macro: String, _ name: String) async throws {
        #expect(try await matches(macro, name))
        #expect(try await !matches(macro, "other." + name))
    }

    @Test func ip6() async throws {
        let address = try #require(AddressText.parse6(octets("2001:db8::cb01")))
        let name = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
        #expect(try await matches("%{ir}.%{v}._spf.%{d2}", name, address: address))
    }

    /// RFC 7208 §7.3 and its example: letters of addresses are small, also where the macro is escaped.
    @Test(arguments: [
        ("%{i}", "2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.c.b.0.1"), ("%{c}", "2001:db8::cb01"),
        ("%{ir}", "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"), ("%{i1}", "1"),
        ("%{I}", "2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.c.b.0.1"), ("%{v}", "ip6"),
    ]) func ip6InExplanations(_ macro: String, _ wanted: String) async throws {
        let lookup = try zone("e.test. TXT \"v=spf1 -all exp=x.test\"\nx.test. TXT \"\(macro)\"")
        let address = try #require(AddressText.parse6(octets("2001:DB8::CB01")))
        let query = SPFQuery(address: address, mailFrom: octets("a@e.test"), helo: octets("h.test"))
        #expect(text(await SPFCheck.run(query, lookup: lookup).explanation) == wanted)
    }

    @Test func escapesAndLongNames() async throws {
        let long = String(repeating: "abcdefgh.", count: 28)
        let lookup = try zone(
            """
            e.test. TXT "v=spf1 exists:%{S}.end.test -all"
            a%2Fb%40e.test.end.test. A 127.0.0.2
            """
        )
        let query = SPFQuery(address: [192, 0, 2, 1], mailFrom: octets("a/b@e.test"), helo: octets("h.test"))
        #expect(await SPFCheck.run(query, lookup: lookup).result == .pass)
        // Labels on the left go until at most 253 octets are left.
        let kept = try zone(
            """
            e.test. TXT "v=spf1 exists:abcdefgh.abcdefgh." "\(long)" "%{d} -all"
            \(String(repeating: "abcdefgh.", count: 27))e.test. A 127.0.0.2
            """
        )
        #expect(await SPFCheck.run(query, lookup: kept).result == .pass)
    }

    @Test func localPartBeyondASCIIMatchesNothing() async throws {
        let lookup = try zone("e.test. TXT \"v=spf1 exists:%{l}.e.test -all\"\n*.e.test. A 127.0.0.2")
        let query = SPFQuery(address: [192, 0, 2, 1], mailFrom: octets("\u{fc}@e.test"), helo: octets("h.test"))
        #expect(await SPFCheck.run(query, lookup: lookup).result == .fail)
    }
}
