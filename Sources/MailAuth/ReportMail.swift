import MIME

/// The mail that a report travels in: a few words for people and the packed report (RFC 7489 §7.2.1.1, RFC 8460 §5.3).
package struct ReportMail: Sendable {
    package var from: String
    package var to: String
    /// Without angle brackets.
    package var messageID: String
    package var date: DateTime

    package init(from: String, to: String, messageID: String, date: DateTime) {
        self.from = from
        self.to = to
        self.messageID = messageID
        self.date = date
    }

    /// What one kind of report has for itself.
    private struct Content {
        var subject: String
        var fields: [(StaticString, String)] = []
        var type: StaticString
        var attachmentType: StaticString
        var fileName: String
        var words: String
        var octets: [UInt8]
    }

    /// Lines of base64 begin with no hyphen and have nothing behind an equals sign, so that this can't be in a part.
    private static let boundary = "=_report"

    /// The whole message, its lines ending in CRLF; nil only without memory.
    ///
    /// - Parameter receiver: the domain of the one who reports.
    package func message(_ report: DMARCAggregateReport, receiver: String) -> [UInt8]? {
        Gzip.compress(report.xml()).map { packed in
            message(
                Content(
                    subject: report.subject(receiver: receiver),
                    type: "multipart/mixed",
                    attachmentType: "application/gzip",
                    fileName: report.fileName(receiver: receiver),
                    words: "This is a DMARC aggregate report about \(report.policy.domain) from \(receiver).",
                    octets: packed
                )
            )
        }
    }

    /// The whole message, its lines ending in CRLF; nil only without memory.
    ///
    /// - Parameters:
    ///   - sender: the domain of the one who reports.
    ///   - domain: the one that is reported about.
    ///   - begin: seconds since 1970.
    ///   - end: seconds since 1970.
    package func message(_ report: TLSReport, sender: String, domain: String, begin: Int, end: Int) -> [UInt8]? {
        Gzip.compress(report.json()).map { packed in
            message(
                Content(
                    subject: report.subject(sender: sender, domain: domain),
                    fields: [("TLS-Report-Domain", domain), ("TLS-Report-Submitter", sender)],
                    type: "multipart/report; report-type=\"tlsrpt\"",
                    attachmentType: "application/tlsrpt+gzip",
                    fileName: report.fileName(sender: sender, domain: domain, begin: begin, end: end),
                    words: "This is an aggregate TLS report about \(domain) from \(sender).",
                    octets: packed
                )
            )
        }
    }

    private func message(_ content: Content) -> [UInt8] {
        var lines = [
            "From: \(Self.clean(from))", "To: \(Self.clean(to))", "Date: \(date)",
            "Message-ID: <\(Self.clean(messageID))>", "Subject: \(Self.folded(content.subject))",
        ]
        lines += content.fields.map { "\($0): \(Self.clean($1))" }
        lines += [
            "MIME-Version: 1.0", "Content-Type: \(content.type);", " boundary=\"\(Self.boundary)\"", "",
            "--\(Self.boundary)", "Content-Type: text/plain; charset=us-ascii", "",
            Self.clean(content.words, spaces: true),
            "--\(Self.boundary)", "Content-Type: \(content.attachmentType)", "Content-Transfer-Encoding: base64",
            "Content-Disposition: attachment;", " filename=\"\(content.fileName)\"", "",
        ]
        var octets: [UInt8] = []
        for line in lines { octets += Array("\(line)\r\n".utf8) }
        var encoder = Base64Encoder()
        encoder.encode(content.octets, into: &octets)
        encoder.finish(into: &octets)
        return octets + Array("--\(Self.boundary)--\r\n".utf8)
    }

    /// A line for each part of the subject.
    private static func folded(_ subject: String) -> String {
        subject.replacing(" Submitter:", with: "\r\n Submitter:").replacing(" Report-ID:", with: "\r\n Report-ID:")
    }

    /// Printable ASCII only, so that nothing ends a field.
    private static func clean(_ text: String, spaces: Bool = false) -> String {
        String(decoding: text.utf8.filter { (0x21...0x7E).contains($0) || (spaces && $0 == 0x20) }, as: UTF8.self)
    }
}
