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
        var fields: [(String, String)] = []
        var subtype: String
        var parameters: [String: String] = [:]
        var attachmentType: String
        var fileName: String
        var words: String
        var octets: [UInt8]
    }

    /// The whole message, its lines ending in CRLF; nil without memory, or where an address is none or several.
    ///
    /// - Parameter receiver: the domain of the one who reports.
    package func message(_ report: DMARCAggregateReport, receiver: String) -> [UInt8]? {
        Gzip.compress(report.xml()).flatMap { packed in
            message(
                Content(
                    subject: report.subject(receiver: receiver),
                    subtype: "mixed",
                    attachmentType: "application/gzip",
                    fileName: report.fileName(receiver: receiver),
                    words: "This is a DMARC aggregate report about \(report.policy.domain) from \(receiver).",
                    octets: packed
                )
            )
        }
    }

    /// The whole message, its lines ending in CRLF; nil without memory, or where an address is none or several.
    ///
    /// - Parameters:
    ///   - sender: the domain of the one who reports.
    ///   - domain: the one that is reported about.
    ///   - begin: seconds since 1970.
    ///   - end: seconds since 1970.
    package func message(_ report: TLSReport, sender: String, domain: String, begin: Int, end: Int) -> [UInt8]? {
        Gzip.compress(report.json()).flatMap { packed in
            message(
                Content(
                    subject: report.subject(sender: sender, domain: domain),
                    fields: [("TLS-Report-Domain", domain), ("TLS-Report-Submitter", sender)],
                    subtype: "report",
                    parameters: ["report-type": "tlsrpt"],
                    attachmentType: "application/tlsrpt+gzip",
                    fileName: report.fileName(sender: sender, domain: domain, begin: begin, end: end),
                    words: "This is an aggregate TLS report about \(domain) from \(sender).",
                    octets: packed
                )
            )
        }
    }

    private func message(_ content: Content) -> [UInt8]? {
        do throws(BuildError) {
            var header = HeaderBuilder()
            for (name, text) in [("From", from), ("To", to)] {
                let field = Array(text.utf8)
                let addresses = AddressListParser.parse(field, maximum: 2)
                guard addresses.count == 1, AddressSyntax.isList(field) else { return nil }
                try header.add(name, addresses: addresses)
            }
            try header.add("Date", words: Self.words(date.description))
            try header.add("Message-ID", words: [Array("<\(messageID)>".utf8)])
            try header.add("Subject", text: content.subject)
            for (name, value) in content.fields { try header.add(name, text: value) }
            // Neither plain words nor base64 have a line that begins as a boundary does: it need not be secret.
            var number: UInt64 = 0
            let builder = MessageBuilder {
                number += 1
                return number
            }
            let parts: [MIMEEntity] = [
                .text(subtype: "plain", content.words),
                .attachment(type: content.attachmentType, name: content.fileName, content.octets),
            ]
            let body = MIMEEntity.multipart(subtype: content.subtype, parameters: content.parameters, parts)
            return try builder.build(header, body).octets
        } catch { return nil }
    }

    private static func words(_ text: String) -> [[UInt8]] { text.utf8.split(separator: ASCII.space).map { Array($0) } }
}
