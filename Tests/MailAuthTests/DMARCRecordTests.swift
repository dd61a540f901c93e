import MailAuth
import Testing

@Suite struct DMARCRecordTests {
    @Test func allTags() throws {
        let record = try #require(
            DMARCRecord(
                parsing: octets(
                    "v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=r; pct=30; fo=1:d:s; ri=3600; rf=afrf; "
                        + "psd=n; t=y; rua=mailto:a%21b@e.test!10m,https://e.test/r; ruf=mailto:f@e.test"
                )
            )
        )
        #expect(record.policy == .reject)
        #expect(record.subdomainPolicy == .quarantine)
        #expect(record.nonexistentPolicy == DMARCPolicy.none)
        #expect(record.dkimAlignment == .strict)
        #expect(record.spfAlignment == .relaxed)
        #expect(record.percentage == 30)
        #expect(record.failureOptions == [.anyFails, .dkimFails, .spfFails])
        #expect(record.interval == 3600)
        #expect(record.publicSuffix == .no)
        #expect(record.isTesting)
        #expect(record.aggregateReports.map { text($0.mailbox) } == ["a!b@e.test", nil])
        #expect(record.aggregateReports[0].maximumOctets == 10 << 20)
        #expect(text(record.failureReports.first?.mailDomain) == "e.test")
        #expect(record.problems.isEmpty)
    }

    @Test(arguments: [
        ("v=DMARC1", true), (" v = DMARC1 ;p=none", true), ("V=DMARC1; p=none", true), ("v=DMARC1p=none", false),
        ("v=dmarc1; p=none", false), ("p=none; v=DMARC1", false), ("v=DMARC2; p=none", false), ("", false),
    ]) func version(_ record: String, _ isRecord: Bool) {
        #expect(DMARCRecord.isRecord(octets(record)) == isRecord)
    }

    /// RFC 7489 §6.6.3: a record whose policy can't be read still asks for reports, or is none.
    @Test(arguments: [
        ("v=DMARC1", false), ("v=DMARC1; p=foo", false), ("v=DMARC1; p=none; sp=foo", false),
        ("v=DMARC1; rua=mailto:a@e.test", true), ("v=DMARC1; p=reject; sp=x; rua=mailto:a@e.test", true),
        ("v=DMARC1; p=foo; rua=nonsense", false),
    ]) func badPolicies(_ record: String, _ counts: Bool) {
        let parsed = DMARCRecord(parsing: octets(record))
        #expect((parsed != nil) == counts)
        #expect(parsed.map(\.policy) != .reject)
    }

    @Test func mistakesArePassedOver() throws {
        let record = try #require(
            DMARCRecord(parsing: octets("v=DMARC1; p=reject; pct=101; adkim=x; fo=2; foo; bar=1; p=none; ri=-1;;"))
        )
        #expect(record.policy == .reject)
        #expect(record.percentage == 100)
        #expect(record.dkimAlignment == .relaxed)
        #expect(record.problems.count == 7)
    }

    /// What can't stand alone in an address field of a report is no address.
    @Test(arguments: [
        "mailto:a%40victim.test%2Cb@e.test", "mailto:a%3E@e.test", "mailto:a%0D%0AB@e.test", "mailto:a%20b@e.test",
        "mailto:%22a@e.test", "mailto:a@b@e.test", "mailto:a%2@e.test", "mailto:@e.test", "mailto:a@",
        "mailto:a(b)@e.test",
        "mailto:" + String(repeating: "a", count: 400) + "@e.test",
    ]) func noAddresses(uri: String) {
        #expect(DMARCReportURI(parsing: octets(uri)[...]) == nil)
    }

    @Test func randomChangesNeverTrap() {
        var generator = FixedGenerator(7489)
        let seed = octets(
            "v=DMARC1; p=reject; sp=none; pct=50; fo=1:d; rua=mailto:a%40b@e.test!10m,mailto:x@y.test!1k; t=y"
        )
        for _ in 0..<20_000 { _ = DMARCRecord(parsing: mutated(seed, &generator)) }
    }
}
