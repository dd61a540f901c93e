import MIME
import MailAuth
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

    @Test(arguments: ["a@e.test\r\nBcc: x@y.test", "a@e.test\nx", "a\0", "a@e.test, b@y.test", ""])
    func nothingIsInjected(to: String) {
        var mail = mail
        mail.to = to
        #expect(mail.message(DMARCAggregateReport(), receiver: "r.test") == nil)
    }
}
