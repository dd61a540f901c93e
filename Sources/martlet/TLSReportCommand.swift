import ArgumentParser
import AuthReports

/// `martlet tls-report FILE`.
struct TLSReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tls-report",
        abstract:
            "Reads a report about a domain's TLS (RFC 8460): the mail that it came in, JSON, or a gzip or ZIP file of it.",
        discussion: "Of several reports in one mail, the first."
    )

    @Argument(help: "The file; - for standard input.") var file: String
    @Flag(help: "For programs: one JSON document.") var json = false

    func run() throws {
        let octets = try FileOctets.read(file, most: ReportMail.mostOctets(ofReport: TLSReport.maximumOctets))
        let report: TLSReport
        do {
            report = try TLSReport(arrived: octets)
        } catch {
            throw ValidationError("\(file): not a report that can be read: \(error)")
        }
        let document = TLSReportDocument(report)
        if json { try JSONOutput.print(document) } else { document.show() }
    }
}

/// A report as programs read it.
struct TLSReportDocument: Encodable {
    struct Policy: Encodable {
        var type: String
        var domain: String
        var strings: [String]
        var exchanges: [String]
        var successfulSessions: Int
        var failedSessions: Int
        var failures: [Failure]
    }

    struct Failure: Encodable {
        var result: String
        var sessions: Int
        var sendingAddress: String?
        var receivingHost: String?
        var receivingHelo: String?
        var receivingAddress: String?
        var information: String?
        var reasonCode: String?
    }

    var organization: String
    var contact: String
    var reportID: String
    var begin: String
    var end: String
    var sessions: Int
    var failed: Int
    var policies: [Policy]

    /// As much as can be told where a report counts what can't be.
    private static func sum(_ counts: [Int]) -> Int {
        counts.reduce(0) { sum, count in
            let (result, overflow) = sum.addingReportingOverflow(count)
            return overflow ? .max : result
        }
    }

    init(_ report: TLSReport) {
        organization = report.organization
        contact = report.contact
        reportID = report.reportID
        begin = report.start
        end = report.end
        sessions = Self.sum(report.policies.flatMap { [$0.successfulSessions, $0.failedSessions] })
        failed = Self.sum(report.policies.map(\.failedSessions))
        policies = report.policies.map { policy in
            Policy(
                type: policy.type,
                domain: policy.domain,
                strings: policy.strings,
                exchanges: policy.exchanges,
                successfulSessions: policy.successfulSessions,
                failedSessions: policy.failedSessions,
                failures: policy.failures.sorted { $0.failedSessions > $1.failedSessions }.map(Failure.init)
            )
        }
    }

    func show() {
        print("from \(shown(organization)) <\(shown(contact))>, report \(shown(reportID))")
        print("of \(shown(begin)) to \(shown(end))")
        print("sessions: \(sessions), of which \(failed) failed")
        for policy in policies {
            print(
                "\(shown(policy.domain))  \(shown(policy.type))  \(policy.successfulSessions) succeeded, "
                    + "\(policy.failedSessions) failed"
            )
            for line in policy.strings { print("      \(shown(line))") }
            for exchange in policy.exchanges { print("      mx \(shown(exchange))") }
            for failure in policy.failures { print("  \(failure.line)") }
        }
    }
}

extension TLSReportDocument.Failure {
    init(_ failure: TLSReport.Failure) {
        self.init(
            result: failure.resultType,
            sessions: failure.failedSessions,
            sendingAddress: failure.sendingAddress,
            receivingHost: failure.receivingHost,
            receivingHelo: failure.receivingHelo,
            receivingAddress: failure.receivingAddress,
            information: failure.additionalInformation,
            reasonCode: failure.reasonCode
        )
    }

    /// One line for a person.
    fileprivate var line: String {
        let words = [
            "\(sessions)", shown(result), sendingAddress.map { "from \(shown($0))" },
            receivingHost.map { "to \(shown($0))" }, receivingAddress.map { "at \(shown($0))" },
            receivingHelo.map { "as \(shown($0))" }, reasonCode.map { shown($0) }, information.map { shown($0) },
        ]
        return words.compactMap { $0 }.joined(separator: "  ")
    }
}
