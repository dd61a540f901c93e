import AuthReports
import Encodings
import MIME
import Testing

@Suite struct ReportMailTests {
    private let mail = ReportMail(
        from: "dmarc@r.test",
        to: "reports@e.test",
        messageID: "1@r.test",
        date: DateTime(secondsSince1970: 1_700_000_000)
    )

    /// The header, and the attachment with what it holds.
    private func parts(_ message: [UInt8]) throws -> (HeaderBlock, MessagePart, [UInt8]) {
        var parser = StructureParser()
        message.withUnsafeBytes { parser.feed($0) }
        let root = parser.finish()
        try #require(root.children.count == 2 && root.defects == [])
        #expect(text(root.children[0].content.type.value) == "text/plain")
        let attachment = root.children[1]
        let packed = TransferDecoder.decode(message[attachment.body], attachment.content.encoding)
        #expect(message.split(separator: 10).allSatisfy { $0.count <= 79 })
        return (HeaderBlock(message), attachment, try Gzip.unpacked(packed, most: 1 << 20))
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
        #expect(text(header.first("to")) == "reports@e.test")
        #expect(text(attachment.content.type.value) == "application/gzip")
        #expect(attachment.content.fileName == "r.test!e.test!0!0!7.xml.gz")
        #expect(text(attachment.content.disposition?.value) == "attachment")
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
        let type = ParameterizedValue(field: header.first("content-type") ?? [])
        #expect(text(type.value) == "multipart/report" && text(type["report-type"]) == "tlsrpt")
        #expect(text(attachment.content.type.value) == "application/tlsrpt+gzip")
    }

    /// A ZIP archive of one stored file.
    private func zipped(_ octets: [UInt8]) -> [UInt8] {
        let size = (0..<4).map { UInt8(truncatingIfNeeded: octets.count >> ($0 * 8)) }
        return [0x50, 0x4B, 3, 4, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] + size + size + [1, 0, 0, 0, 0x61] + octets
    }

    /// A mail with a document in it, the way that others write them.
    private func mail(_ document: [UInt8], type: String, isAlone: Bool) -> [UInt8] {
        let fields = octets("Content-Type: \(type)\r\nContent-Transfer-Encoding: base64\r\n\r\n")
        let body = fields + octets(Base64.text(document)) + octets("\r\n")
        let start = octets("From: <r@r.test>\r\nSubject: Report\r\n")
        if isAlone { return start + body }
        return start + octets("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n<see below>\r\n--b\r\n")
            + body
            + octets("--b--\r\n")
    }

    private static let types = [
        "application/gzip", "application/zip", "application/x-zip-compressed", "application/octet-stream", "text/xml",
        "application/tlsrpt+gzip", "application/tlsrpt+json", "application/json", "text/plain; name=x.json",
    ]

    @Test(arguments: types, [true, false]) func reportsAsTheyArrive(type: String, isAlone: Bool) throws {
        var dmarc = DMARCAggregateReport()
        dmarc.metadata.reportID = "7"
        var tls = TLSReport()
        tls.reportID = "8"
        let forms: [([UInt8]) -> [UInt8]] = [{ $0 }, { Gzip.compress($0) ?? [] }, zipped]
        for form in forms {
            let one = mail(form(dmarc.xml()), type: type, isAlone: isAlone)
            #expect(try DMARCAggregateReport(arrived: one).metadata.reportID == "7")
            #expect(throws: TLSReportError.self) { try TLSReport(arrived: one) }
            let other = mail(form(tls.json()), type: type, isAlone: isAlone)
            #expect(try TLSReport(arrived: other).reportID == "8")
            #expect(throws: DMARCReportError.self) { try DMARCAggregateReport(arrived: other) }
            #expect(try DMARCAggregateReport(arrived: form(dmarc.xml())) == dmarc)
            #expect(try TLSReport(arrived: form(tls.json())) == tls)
        }
    }

    /// What we send, and what others forward of it.
    @Test func reportsReadBack() throws {
        var report = DMARCAggregateReport()
        report.metadata.reportID = "7"
        let message = try #require(mail.message(report, receiver: "r.test"))
        #expect(try DMARCAggregateReport(arrived: message) == report)
        let forwarded = octets("From: a@b.test\r\nContent-Type: message/rfc822\r\n\r\n") + message
        #expect(try DMARCAggregateReport(arrived: forwarded) == report)
        #expect(throws: DMARCReportError.notAReport) {
            try DMARCAggregateReport(arrived: octets("From: a@b.test\r\n\r\nx"))
        }
        #expect(throws: DMARCReportError.notAReport) { try DMARCAggregateReport(arrived: []) }
    }

    @Test(arguments: ["a@e.test\r\nBcc: x@y.test", "a@e.test\nx", "a\0", "a@e.test, b@y.test", ""])
    func nothingIsInjected(to: String) {
        var mail = mail
        mail.to = to
        #expect(mail.message(DMARCAggregateReport(), receiver: "r.test") == nil)
    }
}
