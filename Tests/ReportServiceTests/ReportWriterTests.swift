import AuthReports
import MailAuth
import Reporting
import SMTP
import Testing

@testable import ReportService

@Suite struct ReportWriterTests {
    private func writer(_ kind: ReportSubject.Kind, day: Int = 20_000) throws -> ReportWriter {
        var settings = ReportSettings(
            from: try MailAddress(parsing: "dmarc@receiver.example".utf8),
            hostname: "mx.receiver.example"
        )
        settings.organization = "Receiver & Sons"
        return ReportWriter(
            settings: settings,
            day: ReportDay(number: day),
            subject: ReportSubject(kind: kind, domain: "example.org")
        )
    }

    private var evaluation: DMARCEvaluation {
        var evaluation = DMARCEvaluation(policyDomain: "example.org", source: "192.0.2.1", headerFrom: "a.example.org")
        evaluation.disposition = .reject
        evaluation.envelopeFrom = "b.example"
        evaluation.reasons = [.init(.localPolicy, "SPF failed")]
        evaluation.signatures = [.init(domain: "example.org", selector: "s", result: "fail")]
        evaluation.sender = .init(domain: "b.example", result: "fail")
        return evaluation
    }

    @Test func dmarc() throws {
        let record = try #require(
            DMARCRecord(parsing: Array("v=DMARC1; p=reject; t=y; adkim=s; x=y; rua=mailto:a@b.c".utf8))
        )
        let mail = try #require(
            try writer(.dmarc).mail(to: "a@example.org", [(.dmarc(evaluation), 3)], record: record, date: 0)
        )
        let id = try writer(.dmarc).reportID
        #expect(id.hasPrefix("20241004") && id.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) })
        #expect(String(decoding: mail, as: UTF8.self).contains("Report-ID: <\(id)>"))
        let report = try DMARCAggregateReport(arrived: mail)
        let name = report.fileName(receiver: "receiver.example")
        #expect(name == "receiver.example!example.org!1728000000!1728086399!\(id).xml.gz")
        #expect(report.metadata.organization == "Receiver & Sons" && report.metadata.reportID == id)
        #expect(report.metadata.begin == 1_728_000_000 && report.metadata.end == 1_728_086_399)
        #expect(report.metadata.errors == ["\"x=y\" is not understood"])
        #expect(report.policy.policy == "reject" && report.policy.testing == "y" && report.policy.dkimAlignment == "s")
        let row = try #require(report.records.first)
        #expect(row.count == 3 && row.disposition == "reject" && row.dkim == "fail" && row.spf == "fail")
        #expect(row.reasons == [.init(type: "local_policy", comment: "SPF failed")])
        #expect(row.headerFrom == "a.example.org" && row.envelopeFrom == "b.example")
        #expect(row.senders == [.init(domain: "b.example", scope: "mfrom", result: "fail")])
    }

    /// What is sent again after a crash is known by its name; other days and other receivers have other names.
    @Test func names() throws {
        #expect(try writer(.dmarc).reportID == writer(.dmarc).reportID)
        #expect(try writer(.dmarc).reportID != writer(.tls).reportID)
        #expect(try writer(.dmarc).reportID != writer(.dmarc, day: 20_001).reportID)
    }

    @Test func tls() throws {
        var failure = TLSSessionResult(domain: "example.org")
        failure.failure = .notSupported
        failure.receivingHost = "mx.example.org"
        let rows: ReportWriter.Rows = [(.tls(TLSSessionResult(domain: "example.org")), 40), (.tls(failure), 2)]
        let mail = try #require(try writer(.tls).mail(to: "a@example.org", rows, record: nil, date: 0))
        let report = try TLSReport(arrived: mail)
        #expect(report.organization == "Receiver & Sons" && report.contact == "dmarc@receiver.example")
        #expect(report.start == "2024-10-04T00:00:00Z" && report.end == "2024-10-04T23:59:59Z")
        let policy = try #require(report.policies.first)
        #expect(report.policies.count == 1 && policy.type == "no-policy-found" && policy.domain == "example.org")
        #expect(policy.successfulSessions == 40 && policy.failedSessions == 2)
        #expect(policy.failures.map(\.resultType) == ["starttls-not-supported"])
        #expect(policy.failures.first?.receivingHost == "mx.example.org")
    }
}
