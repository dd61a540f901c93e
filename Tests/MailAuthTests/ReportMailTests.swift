import MIME
import MailAuth
import Testing

@Suite struct ReportMailTests {
    private let mail = ReportMail(
        from: "dmarc@r.test",
        to: "reports@e.test\r\nBcc: x@y.test",
        messageID: "1@r.test",
        date: DateTime(secondsSince1970: 1_700_000_000)
    )

    /// The header, and what the attachment holds.
    private func parts(_ message: [UInt8]) throws -> (HeaderBlock, HeaderBlock, [UInt8]) {
        let header = HeaderBlock(message)
        let pieces = String(decoding: message, as: UTF8.self).components(between: "--=_report")
        #expect(pieces.count == 4)
        // CRLF is one character.
        let attachment = HeaderBlock(octets(String(pieces[2].dropFirst())))
        let body = pieces[2].components(between: "\r\n\r\n").last ?? ""
        let packed = try #require(TagList.base64(octets(body)))
        #expect(String(decoding: message, as: UTF8.self).split(separator: "\r\n").allSatisfy { $0.utf8.count <= 78 })
        return (header, attachment, try Gzip.unpacked(packed, most: 1 << 20))
    }

    @Test func dmarc() throws {
        var report = DMARCAggregateReport()
        report.metadata.reportID = "7"
        report.policy.domain = "e.test"
        report.records = [DMARCAggregateReport.Record](repeating: .init(), count: 20)
        let message = try #require(mail.message(report, receiver: "r.test"))
        let (header, attachment, unpacked) = try parts(message)
        #expect(unpacked == report.xml())
        #expect(text(header.first("subject")) == "Report Domain: e.test Submitter: r.test Report-ID: <7>")
        #expect(text(header.first("to")) == "reports@e.testBcc:x@y.test")
        #expect(text(attachment.first("content-type")) == "application/gzip")
        #expect(text(attachment.first("content-disposition")) == "attachment; filename=\"r.test!e.test!0!0!7.xml.gz\"")
    }

    @Test func tls() throws {
        var report = TLSReport()
        report.reportID = "7"
        report.policies = [TLSReport.Policy()]
        let message = try #require(mail.message(report, sender: "r.test", domain: "e.test", begin: 1, end: 2))
        let (header, attachment, unpacked) = try parts(message)
        #expect(unpacked == report.json())
        #expect(text(header.first("tls-report-domain")) == "e.test")
        #expect(text(header.first("tls-report-submitter")) == "r.test")
        #expect(
            text(header.first("content-type")) == "multipart/report; report-type=\"tlsrpt\"; boundary=\"=_report\""
        )
        #expect(text(attachment.first("content-type")) == "application/tlsrpt+gzip")
    }
}

extension StringProtocol {
    fileprivate func components(between separator: String) -> [String] {
        split(separator: separator, omittingEmptySubsequences: false).map { String($0) }
    }
}
