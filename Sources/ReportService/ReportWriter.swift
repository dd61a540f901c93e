import AuthReports
import Cryptography
import MIME
import MailAuth
import Reporting
import SMTP

/// Makes reports of rows. The same rows of the same day give a report of the same name, so that whoever gets it twice after a
/// crash knows it (RFC 9990 §3.5.4).
struct ReportWriter {
    let settings: ReportSettings
    let day: ReportDay
    let subject: ReportSubject

    typealias Rows = [(result: ReportedResult, count: Int)]

    /// Of letters and digits alone, so that it fits into every place (RFC 9990 §3.5.1).
    var reportID: String {
        let text = "\(subject.kind.rawValue) \(subject.domain) \(settings.hostname) \(settings.from)"
        return day.name.filter { $0 != "-" } + Self.letters(text)
    }

    /// A digest in letters and digits.
    private static func letters(_ text: String) -> String {
        let digest = HashFunction.sha256.digest(of: Array(text.utf8)).prefix(8)
        return String(digest.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }, radix: 36)
    }

    /// The mail for one address; nil where it can't be made.
    ///
    /// - Parameters:
    ///   - record: of the policy, for DMARC.
    ///   - date: seconds since 1970.
    func mail(to address: String, _ rows: Rows, record: DMARCRecord?, date: Int) -> [UInt8]? {
        let mail = ReportMail(
            from: settings.from.description,
            to: address,
            messageID: "\(reportID).\(Self.letters(address))@\(settings.hostname)",
            date: DateTime(secondsSince1970: date)
        )
        switch subject.kind {
        case .dmarc:
            guard let record else { return nil }
            return mail.message(dmarcReport(rows, record), receiver: settings.submitter)
        case .tls:
            return mail.message(
                tlsReport(rows),
                sender: settings.submitter,
                domain: subject.domain,
                begin: day.begin,
                end: day.end
            )
        }
    }

    // MARK: DMARC

    func dmarcReport(_ rows: Rows, _ record: DMARCRecord) -> DMARCAggregateReport {
        var report = DMARCAggregateReport()
        report.metadata.organization = settings.organization ?? settings.submitter
        report.metadata.email = settings.contact
        report.metadata.extraContact = settings.extraContact
        report.metadata.reportID = reportID
        report.metadata.begin = day.begin
        report.metadata.end = day.end
        report.metadata.errors = record.problems
        report.policy = DMARCAggregateReport.Policy(domain: subject.domain, record)
        // RFC 9990 has no place for it.
        report.policy.percentage = nil
        report.policy.discoveryMethod = "treewalk"
        report.records = rows.compactMap { row in
            guard case .dmarc(let evaluation) = row.result else { return nil }
            return DMARCAggregateReport.Record(evaluation, count: row.count)
        }
        return report
    }

    // MARK: TLS

    func tlsReport(_ rows: Rows) -> TLSReport {
        var report = TLSReport()
        report.organization = settings.organization ?? settings.submitter
        report.contact = settings.contact
        report.reportID = reportID
        report.start = InternetTimestamp.text(Int64(day.begin))
        report.end = InternetTimestamp.text(Int64(day.end))
        // A policy that changed within the day is another one.
        var policies: [[String]: TLSReport.Policy] = [:]
        for (result, count) in rows {
            guard case .tls(let session) = result else { continue }
            let key = [session.policyType.rawValue] + session.policyStrings
            var policy = policies[key] ?? TLSReport.Policy()
            policy.type = session.policyType.rawValue
            policy.domain = subject.domain
            policy.strings = session.policyStrings
            policy.exchanges = session.exchangePatterns
            if let failure = session.failure {
                policy.failedSessions += count
                policy.failures.append(TLSReport.Failure(failure, session, count: count))
            } else {
                policy.successfulSessions += count
            }
            policies[key] = policy
        }
        report.policies = policies.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.value)
        return report
    }
}

extension DMARCAggregateReport.Record {
    init(_ evaluation: DMARCEvaluation, count: Int) {
        self.init()
        self.count = count
        sourceAddress = evaluation.source
        disposition = evaluation.disposition.rawValue
        dkim = evaluation.isAlignedByDKIM ? "pass" : "fail"
        spf = evaluation.isAlignedBySPF ? "pass" : "fail"
        reasons = evaluation.reasons.map { .init(type: $0.kind.rawValue, comment: $0.comment) }
        headerFrom = evaluation.headerFrom
        envelopeFrom = evaluation.envelopeFrom
        signatures = evaluation.signatures.map {
            .init(domain: $0.domain, selector: $0.selector, result: $0.result)
        }
        senders = evaluation.sender.map { [.init(domain: $0.domain, scope: "mfrom", result: $0.result)] } ?? []
    }
}

extension TLSReport.Failure {
    init(_ failure: TLSSessionResult.Failure, _ session: TLSSessionResult, count: Int) {
        self.init()
        resultType = failure.rawValue
        receivingHost = session.receivingHost
        receivingAddress = session.receivingAddress
        additionalInformation = session.information
        failedSessions = count
    }
}
