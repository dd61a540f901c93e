import DNS
import MailAuth
import Testing

@Suite struct SPFTreeTests {
    private func walk(_ text: String, failing: [String] = []) async throws -> SPFTree {
        await SPFTree.walk(octets("e.test"), lookup: try zone(text, failing: failing))
    }

    @Test func everythingIsCounted() async throws {
        let tree = try await walk(
            """
            e.test. TXT "v=spf1 a mx include:i.test exists:%{i}.l.test -all"
            e.test. A 192.0.2.1
            e.test. MX 10 m.test.
            m.test. A 192.0.2.2
            i.test. TXT "v=spf1 ip4:192.0.2.0/24 redirect=r.test"
            r.test. TXT "v=spf1 ~all"
            """
        )
        #expect(tree.lookups == 5)
        #expect(tree.voidLookups == 0)
        #expect(tree.problems.isEmpty)
        #expect(tree.lines.map(\.depth) == [0, 0, 0, 0, 1, 1, 1, 2, 2, 0, 0])
        #expect(tree.lines[2].note == "m.test (192.0.2.2)")
        #expect(tree.lines[9].note == "depends on the message")
    }

    @Test(arguments: [
        ("", "e.test has no SPF record"),
        ("e.test. TXT \"v=spf1 -all\"\ne.test. TXT \"v=spf1 ~all\"", "e.test has 2 SPF records"),
        ("e.test. TXT \"v=spf1 moo\"", "the record of e.test has an unknown mechanism, at octet 7"),
        ("e.test. TXT \"v=spf1 include:e.test -all\"", "e.test leads back to itself"),
        ("e.test. TXT \"v=spf1 +all\"", "e.test lets the whole world send its mail"),
        ("e.test. TXT \"v=spf1 -all ip4:192.0.2.1\"", "e.test has terms behind all"),
        ("e.test. TXT \"v=spf1 ip4:192.0.2.1\"", "e.test ends without all or redirect: neutral for all others"),
        ("e.test. TXT \"v=spf1 -all redirect=r.test\"", "e.test has all and redirect: the redirect is never followed"),
        ("e.test. TXT \"v=spf1 ptr -all\"", "e.test uses ptr, which RFC 7208 discourages"),
        ("e.test. TXT \"v=spf1 include:n.test -all\"", "n.test has no SPF record"),
        (
            "e.test. TXT \"v=spf1 a:a.test a:b.test a:c.test -all\"",
            "3 lookups find nothing, of which 2 may: permerror"
        ),
    ]) func problems(_ text: String, _ problem: String) async throws {
        #expect(try await walk(text).problems == [problem])
    }

    /// A server that makes up a new name for each that is asked for.
    private struct Chain: MailAuthLookup {
        func txt(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] {
            let number = Int(String(decoding: name.labels.first ?? [], as: UTF8.self).dropFirst()) ?? 0
            return [octets("v=spf1 redirect=n\(number + 1).e.test")]
        }
        func ip4Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] { throw .noSuchName }
        func ip6Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] { throw .noSuchName }
        func mailExchanges(_ name: DomainName) async throws(MailAuthLookupError) -> [MailExchange] {
            throw .noSuchName
        }
        func pointers(_ name: DomainName) async throws(MailAuthLookupError) -> [DomainName] { throw .noSuchName }
    }

    @Test func endlessRedirectsEnd() async throws {
        let tree = await SPFTree.walk(octets("n0.e.test"), lookup: Chain())
        #expect(tree.lines.count <= 102)
        #expect(tree.problems.filter { $0.hasPrefix("there are more than 100 terms") }.count == 1)
    }

    @Test func wideTreesEnd() async throws {
        let includes = (0..<9).map { "include:i\($0).test" }.joined(separator: " ")
        let records = ["e"] + (0..<9).map { "i\($0)" }
        let tree = try await walk(records.map { "\($0).test. TXT \"v=spf1 \(includes)\"" }.joined(separator: "\n"))
        #expect(tree.lines.count < 300)
        #expect(tree.problems.contains { $0.hasPrefix("there are more than 100 terms") })
    }
}
