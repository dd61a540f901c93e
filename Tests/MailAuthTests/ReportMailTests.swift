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

    /// XML may be in UTF-16, with its mark or without.
    @Test(arguments: [([0xFF, 0xFE], false), ([0xFE, 0xFF], true), ([], false), ([], true)] as [([UInt8], Bool)])
    func reportsInUTF16(mark: [UInt8], isBigEndian: Bool) throws {
        var report = DMARCAggregateReport()
        report.metadata.organization = "Grüße"
        let xml = String(decoding: report.xml(), as: UTF8.self).replacing("UTF-8", with: "UTF-16")
        let wide =
            mark
            + xml.utf16.flatMap { unit in
                let octets = [UInt8(truncatingIfNeeded: unit), UInt8(truncatingIfNeeded: unit >> 8)]
                return isBigEndian ? octets.reversed() : octets
            }
        #expect(try DMARCAggregateReport(arrived: wide) == report)
        #expect(try DMARCAggregateReport(arrived: mail(wide, type: "text/xml", isAlone: false)) == report)
        #expect(try DMARCAggregateReport(arrived: Gzip.compress(wide) ?? []) == report)
    }

    /// Sets that aren't what is declared, or are declared in other words.
    @Test(
        arguments: [
            ("UTF-8", .utf8), ("utf8", .utf8), ("us-ascii", .utf8), ("UTF-8", .latin1), ("us-ascii", .latin1),
            ("ISO-8859-1", .latin1), ("windows-1252", .latin1), ("x-unknown", .utf8), ("UTF-16", .utf8),
        ] as [(String, Charset)]
    )
    func declaredSets(label: String, charset: Charset) throws {
        var report = DMARCAggregateReport()
        report.metadata.organization = "Grüße"
        let xml = String(decoding: report.xml(), as: UTF8.self).replacing("UTF-8", with: label)
        let document =
            charset == .utf8 ? Array(xml.utf8) : xml.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
        for start in [[], octets("\n\n"), charset == .utf8 ? [0xEF, 0xBB, 0xBF, 0x0A] : []] {
            #expect(try DMARCAggregateReport(arrived: start + document) == report)
        }
    }

    /// A gzip file may be several, one behind the other.
    @Test func gzipFilesInARow() throws {
        var report = DMARCAggregateReport()
        report.metadata.reportID = "7"
        let xml = report.xml()
        let pieces = try [xml.prefix(100), xml.dropFirst(100)].map { try #require(Gzip.compress(Array($0))) }
        #expect(try DMARCAggregateReport(arrived: Array(pieces.joined())) == report)
        #expect(try DMARCAggregateReport(arrived: Array(pieces.joined()) + [0, 0, 0]) == report)
        #expect(throws: GzipError.tooLong) { try Gzip.unpacked(Array(pieces.joined()), most: xml.count - 1) }
    }

    /// The files of an archive, with a directory of them at its end.
    private func archive(_ files: [(name: String, octets: [UInt8])], hasSizes: Bool = true) -> [UInt8] {
        func number(_ value: Int, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
        }
        var octets: [UInt8] = []
        var directory: [UInt8] = []
        for (name, content) in files {
            let size = number(content.count, 4) + number(content.count, 4)
            let start = number(20, 2) + number(hasSizes ? 0 : 8, 2) + number(0, 2) + number(0, 4) + number(0, 4)
            let names = number(name.utf8.count, 2) + number(0, 2)
            directory += [0x50, 0x4B, 1, 2] + number(20, 2) + start + size + names + number(0, 10)
            directory += number(octets.count, 4) + Array(name.utf8)
            octets +=
                [0x50, 0x4B, 3, 4] + start + (hasSizes ? size : number(0, 8)) + names + Array(name.utf8) + content
            if !hasSizes { octets += [0x50, 0x4B, 7, 8] + number(0, 4) + size }
        }
        let end = [0x50, 0x4B, 5, 6] + number(0, 4) + number(files.count, 2) + number(files.count, 2)
        return octets + directory + end + number(directory.count, 4) + number(octets.count, 4) + number(0, 2)
    }

    @Test(arguments: [true, false]) func reportsAmongFilesOfAnArchive(hasSizes: Bool) throws {
        var report = DMARCAggregateReport()
        report.metadata.reportID = "7"
        let xml = report.xml()
        let others = [("d/", []), ("__MACOSX/._r.xml", [0, 1]), ("README.txt", octets("Hello"))]
        for files in [others, [others[0]], []] {
            #expect(
                try DMARCAggregateReport(arrived: archive(files + [("d/R.XML", xml)], hasSizes: hasSizes)) == report
            )
        }
        #expect(
            try DMARCAggregateReport(arrived: archive([("report", xml), ("x.txt", [1])], hasSizes: hasSizes)) == report
        )
        #expect(throws: DMARCReportError.packing(.malformed)) {
            try DMARCAggregateReport(arrived: archive([("d/", [])]))
        }
        // Without the directory at the end.
        let start = archive(others + [("r.xml", xml)])
        let cut = try #require(start.firstRange(of: [0x50, 0x4B, 1, 2])?.lowerBound)
        #expect(try DMARCAggregateReport(arrived: Array(start[..<cut])) == report)
        var generator = FixedGenerator(17)
        for _ in 0..<2000 { _ = try? Gzip.unpacked(mutated(start, &generator), most: 1 << 20) }
    }

    /// What many documents in one mail may grow to is what one may.
    @Test func manyDocumentsThatGrowCostNoMoreThanOne() throws {
        let start = octets("From: <r@r.test>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
        func part(_ document: [UInt8]) -> [UInt8] {
            octets("--b\r\nContent-Transfer-Encoding: base64\r\n\r\n\(Base64.text(document))\r\n")
        }
        var report = DMARCAggregateReport()
        report.metadata.reportID = "7"
        let good = part(try #require(Gzip.compress(report.xml())))
        // Each alone is within the limit; the second's end is damaged.
        let blanks = [UInt8](repeating: UInt8(ascii: " "), count: DMARCAggregateReport.maximumOctets / 5 * 2)
        let large = try #require(Gzip.compress(blanks))
        let damaged = Array(large.dropLast(8)) + [UInt8](repeating: 0, count: 8)
        #expect(try DMARCAggregateReport(arrived: start + part(large) + part(damaged) + good) == report)
        let bombs = part(large) + part(damaged)
        let clock = ContinuousClock()
        let one = clock.measure { _ = try? DMARCAggregateReport(arrived: start + bombs) }
        let many = clock.measure {
            #expect(throws: DMARCReportError.xml(.malformed)) {
                try DMARCAggregateReport(arrived: start + [[UInt8]](repeating: bombs, count: 10).joined() + good)
            }
        }
        #expect(many < one * 4 + .milliseconds(500), "\(many) for twenty, \(one) for two")
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
