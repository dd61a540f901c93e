import AuthReports
import DNS
import MailAuth
import Testing

@Suite struct MTASTSTests {
    @Test(arguments: [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"), (["other", "v=STSv1;id=a"], "a"),
        (["v=STSv1; x=y; id=1; id=2"], "1"), (["v=STSv1; id=a", "v=STSv1; id=b"], nil), (["v=STSv1"], nil),
        (["v=STSv1; id="], nil), (["v=STSv1; id=a-b"], nil), (["v=STSv2; id=a"], nil), (["v=STSv11; id=a"], nil),
        ([], nil),
    ]) func record(_ texts: [String], _ id: String?) {
        #expect(text(MTASTSRecord(texts: texts.map(octets))?.id) == id)
    }

    /// The example of RFC 8461 §3.2.
    @Test func policy() throws {
        let file =
            "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmx: backupmx.example.com\nmax_age: 604800\n"
        let policy = try MTASTSPolicy(reading: octets(file))
        #expect(policy.mode == .enforce)
        #expect(policy.maximumAge == 604_800)
        let matches = { (name: String) in policy.matches(try DomainName(name)) }
        #expect(try matches("Mail.example.com"))
        #expect(try matches("a.EXAMPLE.net"))
        #expect(try !matches("example.net"))
        #expect(try !matches("a.b.example.net"))
        #expect(try !matches("other.example.com"))
        #expect(try MTASTSPolicy(reading: policy.written()) == policy)
        #expect(try MTASTSPolicy(reading: octets(file.replacing("\n", with: "\r\n"))) == policy)
        #expect(try MTASTSPolicy(reading: octets(file + "mode: none\nfuture: x\n\n")) == policy)
    }

    @Test(arguments: [
        ("", MTASTSPolicyError.badVersion), ("version: STSv2", .badVersion), ("version: STSv1\nmax_age: 1", .badMode),
        ("version: STSv1\nmode: Enforce\nmax_age: 1", .badMode), ("version: STSv1\nmode: none", .badMaximumAge),
        ("version: STSv1\nmode: none\nmax_age: -1", .badMaximumAge),
        ("version: STSv1\nmode: none\nmax_age: 12345678901", .badMaximumAge),
        ("version: STSv1\nmode: testing\nmax_age: 1", .badExchange), ("version: STSv1\nmx: a..b", .badExchange),
        ("version: STSv1\nmx: *", .badExchange), ("version: STSv1\nmx: a.*.b", .badExchange),
        ("version: STSv1\nnonsense", .badLine(2)),
    ]) func refused(_ file: String, _ error: MTASTSPolicyError) {
        #expect(throws: error) { try MTASTSPolicy(reading: octets(file)) }
    }

    @Test func nothingIsInjected() throws {
        let patterns = ["a.test", "b.test\r\nmode: none", "*.c.test", "d test"].map(octets)
        let policy = MTASTSPolicy(mode: .enforce, maximumAge: 60, patterns: patterns)
        #expect(
            text(policy.written()) == "version: STSv1\r\nmode: enforce\r\nmx: a.test\r\nmx: *.c.test\r\nmax_age: 60\r\n"
        )
    }

    @Test func limits() throws {
        #expect(throws: MTASTSPolicyError.tooLong) { try MTASTSPolicy(reading: [UInt8](repeating: 10, count: 65_537)) }
        let long = try MTASTSPolicy(reading: octets("version: STSv1\nmode: none\nmax_age: 9999999999"))
        #expect(long.maximumAge == 31_557_600)
    }

    @Test func randomChangesNeverTrap() throws {
        var generator = FixedGenerator(8461)
        let seed = octets("version: STSv1\nmode: enforce\nmx: *.example.net\nmax_age: 604800\n")
        let name = try DomainName("mx.example.net")
        for _ in 0..<10_000 {
            _ = (try? MTASTSPolicy(reading: mutated(seed, &generator)))?.matches(name)
            _ = MTASTSRecord(texts: [mutated(octets("v=STSv1; id=20160831085700Z;"), &generator)])
        }
    }
}

@Suite struct TLSReportTests {
    @Test(arguments: [
        (["v=TLSRPTv1;rua=mailto:reports@example.com"], ["mailto:reports@example.com"]),
        (["v=TLSRPTv1; rua=mailto:a@e.test , https://e.test/v1 ;"], ["mailto:a@e.test", "https://e.test/v1"]),
        (["v=TLSRPTv1; rua=ftp://e.test"], nil), (["v=TLSRPTv1"], nil),
        (["v=TLSRPTv1;rua=mailto:a@b", "v=TLSRPTv1;rua=mailto:a@b"], nil),
        (["v=TLSRPTv2;rua=mailto:a@b"], nil),
    ]) func record(_ texts: [String], _ destinations: [String]?) {
        #expect(TLSReportRecord(texts: texts.map(octets))?.destinations.map { text($0) } == destinations)
    }

    private var report: TLSReport {
        var report = TLSReport()
        report.organization = "Company-X \"quoted\" \u{1f426} \u{7}"
        report.start = "2016-04-01T00:00:00Z"
        report.end = "2016-04-01T23:59:59Z"
        report.contact = "sts-reporting@company-x.example"
        report.reportID = "5065427c-23d3-47ca-b6e0-946ea0e8c4be"
        var policy = TLSReport.Policy()
        policy.type = "sts"
        policy.strings = ["version: STSv1", "mode: testing", "max_age: 86400"]
        policy.domain = "company-y.example"
        policy.exchanges = ["*.mail.company-y.example"]
        policy.successfulSessions = 5326
        policy.failedSessions = 303
        var failure = TLSReport.Failure()
        failure.resultType = "certificate-expired"
        failure.sendingAddress = "2001:db8:abcd:0012::1"
        failure.receivingHost = "mx1.mail.company-y.example"
        failure.failedSessions = 100
        policy.failures = [failure]
        report.policies = [policy, TLSReport.Policy()]
        return report
    }

    @Test func writtenAndReadBack() throws {
        #expect(try TLSReport(reading: report.json()) == report)
        #expect(try TLSReport(reading: try #require(Gzip.compress(report.json()))) == report)
    }

    /// RFC 8460 appendix B. A field that it names otherwise than its §4.4 does is passed over.
    @Test func publishedExample() throws {
        let document = """
            {"organization-name": "Company-X",
             "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
             "contact-info": "sts-reporting@company-x.example",
             "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
             "policies": [{
               "policy": {"policy-type": "sts",
                 "policy-string": ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"],
                 "policy-domain": "company-y.example", "mx-host": ["*.mail.company-y.example"]},
               "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
               "failure-details": [
                 {"result-type": "certificate-expired", "sending-mta-ip": "2001:db8:abcd:0012::1",
                  "receiving-mx-hostname": "mx1.mail.company-y.example", "failed-session-count": 100},
                 {"result-type": "starttls-not-supported", "sending-mta-ip": "2001:db8:abcd:0013::1",
                  "receiving-mx-hostname": "mx2.mail.company-y.example", "receiving-ip": "203.0.113.56",
                  "failed-session-count": 200, "additional-information": "https://reports.company-x.example/r?id=5"},
                 {"result-type": "validation-failure", "sending-mta-ip": "198.51.100.62", "receiving-ip": "203.0.113.58",
                  "receiving-mx-hostname": "mx-backup.mail.company-y.example", "failed-session-count": 3,
                  "failure-error-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"}]}]}
            """
        let report = try TLSReport(reading: octets(document))
        let policy = try #require(report.policies.first)
        #expect(report.organization == "Company-X" && policy.type == "sts" && policy.strings.count == 4)
        #expect(policy.successfulSessions == 5326 && policy.failedSessions == 303)
        #expect(policy.failures.map(\.failedSessions) == [100, 200, 3])
        #expect(policy.failures[1].receivingAddress == "203.0.113.56")
        #expect(try TLSReport(reading: report.json()) == report)
    }

    @Test func countsAreNeverNegative() throws {
        let summary = "{\"summary\":{\"total-failure-session-count\":-7,\"total-successful-session-count\":\"-7\"}}"
        let report = try TLSReport(reading: octets("{\"report-id\":\"\",\"policies\":[\(summary)]}"))
        #expect(report.policies.map(\.failedSessions) == [0] && report.policies.map(\.successfulSessions) == [0])
    }

    @Test func destinationsAreWritten() throws {
        let record = try #require(TLSReportRecord(destinations: ["mailto:a@b.test", "https://c.test/r"].map(octets)))
        #expect(text(record.text) == "v=TLSRPTv1; rua=mailto:a@b.test,https://c.test/r")
        #expect(TLSReportRecord(texts: [record.text]) == record)
        for uri in ["mailto:a@b.test,mailto:c@d.test", "mailto:a;x=y", "mailto:a b", "ftp://c.test/", "mailto:\r\n"] {
            #expect(TLSReportRecord(destinations: [octets(uri)]) == nil)
        }
    }

    /// Values in other forms than the RFC's examples have, as reports from the wild do.
    @Test func tolerated() throws {
        let document = #"""
            {"organization-name": "\u0041\ud83d\udc26\n", "report-id" : 1, "x":[{}, [], null, true, -1.5e+3],
             "date-range":{"start-datetime":"s"},
             "policies":[{"policy":{"policy-type":"sts","mx-host":"m.test"},"summary":{"total-failure-session-count":"7"}}]}
            """#
        let report = try TLSReport(reading: octets(document))
        #expect(report.organization == "A\u{1f426}\n")
        #expect(report.policies.map(\.exchanges) == [["m.test"]])
        #expect(report.policies.map(\.failedSessions) == [7])
    }

    /// Words of strangers with control characters, and in Latin-1.
    @Test(
        arguments: [
            (Array("a\u{1}\n\tb \\\"\u{2}".utf8), "a?  b \"?"), ([0x47, 0x72, 0xFC, 0xDF, 0x65], "Grüße"),
            (Array("Grüße\\\\".utf8), "Grüße\\"),
        ] as [([UInt8], String)]
    )
    func wordsAsTheyCome(name: [UInt8], meaning: String) throws {
        let document =
            octets("{\n\t\"organization-name\":\"") + name + octets("\",\r\n\"report-id\":\"7\",\"policies\":[]}")
        let report = try TLSReport(reading: document)
        #expect(report.organization == meaning && report.reportID == "7")
    }

    @Test(arguments: [
        "", "{", "{}x", "{\"a\":01}", "{\"a\":+1}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":1e}", "{\"a\" 1}", "{a:1}",
        "[1,]", "{\"a\":1,}",
        "\"\n\"", "\"\\x\"", "\"\\u12\"", "tru", "nul", "[\"", "-",
    ]) func notJSON(_ document: String) {
        #expect(throws: TLSReportError.self) { try TLSReport(reading: octets(document)) }
    }

    @Test(arguments: ["", "{", "{}x", "{\"a\" 1}", "{a:1}", "[\"", "{\"report-id\":\"\\x\",\"policies\":["])
    func malformedJSON(_ document: String) {
        #expect(throws: TLSReportError.json(.malformed)) { try TLSReport(reading: octets(document)) }
    }

    /// Limits are looked at before anything is made of a document.
    @Test func limitsOfJSON() {
        let start = "{\"report-id\":\"\",\"policies\":["
        let values = String(repeating: "0,", count: 500_000)
        #expect(throws: TLSReportError.json(.tooLarge)) { try TLSReport(reading: octets(start + values + "0]}")) }
        let nested = String(repeating: "[", count: 23) + String(repeating: "]", count: 23)
        #expect(throws: TLSReportError.json(.tooLarge)) { try TLSReport(reading: octets(start + nested + "]}")) }
        // Brackets and commas in strings are text.
        let text = String(repeating: "[{,\\\"", count: 200_000)
        #expect(
            (try? TLSReport(reading: octets(start + "],\"contact-info\":\"\(text)\"}")))?.contact.utf8.count == 800_000
        )
    }

    /// It would be read as UTF-16, in which the search for brackets and commas sees other characters.
    @Test func otherEncodingsPassNoLimit() {
        let text = "{\"contact-info\":\"\u{2200}\",\"policies\":[" + String(repeating: "0,", count: 500_000) + "0]}"
        let octets = text.utf16.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
        #expect(throws: TLSReportError.json(.malformed)) { try TLSReport(reading: octets) }
    }

    @Test func otherDocuments() {
        #expect(throws: TLSReportError.notAReport) { try TLSReport(reading: octets("[]")) }
        #expect(throws: TLSReportError.notAReport) { try TLSReport(reading: octets("{\"policies\":{}}")) }
        let deep = [UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)
        #expect(throws: TLSReportError.json(.tooLarge)) { try TLSReport(reading: deep) }
    }

    @Test func names() {
        #expect(
            report.fileName(sender: "mail.x.test", domain: "y.test", begin: 1, end: 2)
                == "mail.x.test!y.test!1!2!5065427c-23d3-47ca-b6e0-946ea0e8c4be.json.gz"
        )
        #expect(
            report.subject(sender: "x.test", domain: "y\r\n.test")
                == "Report Domain: y.test Submitter: x.test Report-ID: <5065427c-23d3-47ca-b6e0-946ea0e8c4be>"
        )
    }

    @Test func randomChangesNeverTrap() {
        var generator = FixedGenerator(8460)
        let document = report.json()
        for _ in 0..<5000 { _ = try? TLSReport(reading: mutated(document, &generator)) }
    }
}
