/// A complaint or a failed check about one message (message/feedback-report, RFC 5965); DMARC's failure reports have this
/// form (RFC 6591, RFC 7489 §7.3).
package struct FeedbackReport: Sendable, Equatable {
    /// Such as `abuse` or `auth-failure`, in lower case.
    package var kind: String
    package var userAgent: String?
    package var version: String?
    package var envelopeID: String?
    /// With its angle brackets.
    package var mailFrom: String?
    package var recipients: [String] = []
    package var arrival: DateTime?
    package var reportingMTA: ReportValue?
    package var sourceIP: String?
    /// The values of Authentication-Results fields.
    package var authenticationResults: [String] = []
    package var domains: [String] = []
    /// What failed: `dkim`, `spf`, `dmarc` and others of RFC 6591 §3.3; nil in other reports.
    package var authFailure: String?
    /// All other fields, such as `DKIM-Domain` and `Identity-Alignment`.
    package var extensions: [ReportField] = []

    package init(kind: String) { self.kind = kind }

    /// Reads the decoded body of the part; nil for one without its kind.
    package init?(reading body: [UInt8]) {
        guard let block = ReportFields.whole(body), let kind = block.word("feedback-type") else { return nil }
        self.kind = kind
        userAgent = block.text("user-agent")
        version = block.text("version")
        envelopeID = block.text("original-envelope-id")
        mailFrom = block.text("original-mail-from")
        recipients = block.all("original-rcpt-to".utf8).map { EncodedWords.text($0) }
        arrival = block.date("arrival-date") ?? block.date("received-date")
        reportingMTA = block.reportValue("reporting-mta")
        sourceIP = block.text("source-ip")
        authenticationResults = block.all("authentication-results".utf8).map { EncodedWords.text($0) }
        domains = block.all("reported-domain".utf8).map { EncodedWords.text($0) }
        authFailure = block.word("auth-failure")
        extensions = block.others(than: [
            "feedback-type", "user-agent", "version", "original-envelope-id", "original-mail-from", "original-rcpt-to",
            "arrival-date", "received-date", "reporting-mta", "source-ip", "authentication-results", "reported-domain",
            "auth-failure",
        ])
    }

    /// The part's body. Throws for line breaks in a value.
    package func written() throws(BuildError) -> [UInt8] {
        var block = HeaderBuilder()
        try block.add("Feedback-Type", report: kind)
        try block.add("User-Agent", report: userAgent)
        try block.add("Version", report: version ?? "1")
        try block.add("Original-Envelope-Id", report: envelopeID)
        try block.add("Original-Mail-From", report: mailFrom)
        for recipient in recipients { try block.add("Original-Rcpt-To", report: recipient) }
        try block.add("Arrival-Date", report: arrival)
        try block.add("Reporting-MTA", report: reportingMTA?.field)
        try block.add("Source-IP", report: sourceIP)
        for results in authenticationResults { try block.add("Authentication-Results", report: results) }
        for domain in domains { try block.add("Reported-Domain", report: domain) }
        try block.add("Auth-Failure", report: authFailure)
        for field in extensions { try block.add(field.name, report: field.value) }
        return block.octets
    }
}
