import ArgumentParser
import AuthReports
import DNS
import MIME
import MailAuth

/// `martlet dmarc`: what domains ask for, and the reports about one's own.
struct DMARCCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dmarc",
        abstract: "Shows DMARC policies and reads reports (RFC 7489, RFC 9989).",
        subcommands: [DMARCShowCommand.self, DMARCReportCommand.self, DMARCSummaryCommand.self]
    )
}

/// `martlet dmarc show DOMAIN`.
struct DMARCShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Shows the policy for mail from a domain, and how it is found.",
        discussion: "Exits with 1 when there is none, with 2 when a name could not be looked up."
    )

    @Argument(help: "The domain of a From field.") var domain: String
    @Flag(help: "For programs: one JSON document.") var json = false
    @OptionGroup var source: LookupOptions

    func run() async throws {
        let lookup = try source.lookup()
        guard let name = try? DomainName(domain), !name.isRoot else {
            throw ValidationError("\"\(domain)\" is not a domain name")
        }
        // Nothing vouches for the message: the outcome is what the domain asks for.
        let author = DMARCAuthor.domain(Array(domain.utf8))
        let outcome = await DMARCCheck.run(author: author, identifiers: [], sample: 0, lookup: lookup)
        var destinations: [DMARCReportDestination.Verdict] = []
        var failed = outcome.result == .temperror
        if let record = outcome.record, let policyDomain = outcome.policyDomain {
            do throws(MailAuthLookupError) {
                destinations = try await DMARCReportDestination.verify(
                    record.aggregateReports,
                    policyDomain: policyDomain,
                    lookup: lookup
                )
            } catch {
                failed = true
            }
        }
        let document = DMARCShowDocument(outcome, destinations)
        if json { try JSONOutput.print(document) } else { document.show() }
        if failed { throw ExitCode(2) }
        if outcome.record == nil { throw ExitCode(1) }
    }
}

/// A domain's policy as programs read it.
struct DMARCShowDocument: Encodable {
    struct Step: Encodable {
        var name: String
        var record: String?
        var note: String
    }

    struct Destination: Encodable {
        var uri: String
        var accepted: Bool
        var reason: String
    }

    var found: Bool
    var reason: String
    var steps: [Step]
    var policyDomain: String?
    var organizationalDomain: String?
    /// The tag that applies: p, sp or np.
    var tag: String
    var policy: String
    /// What to do with mail that fails, a trial taken into account.
    var disposition: String
    var dkimAlignment: String?
    var spfAlignment: String?
    var percentage: Int?
    var destinations: [Destination]
    var problems: [String]

    init(_ outcome: DMARCOutcome, _ destinations: [DMARCReportDestination.Verdict]) {
        found = outcome.record != nil
        reason = outcome.reason
        steps = outcome.steps.map {
            Step(name: "\($0.name)", record: $0.text.map { String(decoding: $0, as: UTF8.self) }, note: $0.note)
        }
        policyDomain = outcome.policyDomain.map { "\($0)" }
        organizationalDomain = outcome.organizationalDomain.map { "\($0)" }
        tag = outcome.policyTag
        policy = outcome.policy.rawValue
        disposition = outcome.disposition.rawValue
        dkimAlignment = outcome.record?.dkimAlignment.rawValue
        spfAlignment = outcome.record?.spfAlignment.rawValue
        percentage = outcome.record?.percentage
        self.destinations = destinations.map {
            Destination(uri: String(decoding: $0.uri.uri, as: UTF8.self), accepted: $0.isAccepted, reason: $0.reason)
        }
        problems = outcome.record?.problems ?? []
    }

    func show() {
        for step in steps {
            print("\(shown(step.name)) \(step.record.map { shown($0) } ?? "(\(shown(step.note)))")")
        }
        guard found else {
            print(shown(reason))
            return
        }
        print(
            "policy domain: \(shown(policyDomain ?? "")); organisational domain: \(shown(organizationalDomain ?? ""))"
        )
        print("mail that fails: \(policy) (from \(tag)); to do: \(disposition)", terminator: "")
        print(percentage == 100 ? "" : ", for \(percentage ?? 0) of 100 messages")
        let alignment = { (letter: String?) in letter == "s" ? "strict" : "relaxed" }
        print("alignment: DKIM \(alignment(dkimAlignment)), SPF \(alignment(spfAlignment))")
        for destination in destinations {
            print(
                "reports \(destination.accepted ? "to" : "not to") \(shown(destination.uri)): \(shown(destination.reason))"
            )
        }
        for problem in problems { print("! \(shown(problem))") }
    }
}

/// `martlet dmarc report FILE`.
struct DMARCReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Reads an aggregate report: the mail that it came in, XML, or a gzip or ZIP file of it.",
        discussion: "The most frequent sources come first. Of several reports in one mail, the first is read."
    )

    @Argument(help: "The file; - for standard input.") var file: String
    @Flag(help: "For programs: one JSON document.") var json = false

    func run() async throws {
        let most = ReportMail.mostOctets(ofReport: DMARCAggregateReport.maximumOctets)
        let octets = try FileOctets.read(file, most: most)
        let report: DMARCAggregateReport
        do {
            report = try DMARCAggregateReport(arrived: octets)
        } catch {
            throw ValidationError("\(file): not a report that can be read: \(error)")
        }
        let document = DMARCReportDocument(report)
        if json { try JSONOutput.print(document) } else { document.show() }
    }
}

/// A report as programs read it.
struct DMARCReportDocument: Encodable {
    struct Record: Encodable {
        var source: String
        var count: Int
        var disposition: String
        var dkim: String
        var spf: String
        var headerFrom: String
        var envelopeFrom: String?
        var signatures: [String]
        var senders: [String]
        var reasons: [String]
    }

    var organization: String
    var email: String
    var reportID: String
    var begin: String
    var end: String
    var domain: String
    var policy: String
    var subdomainPolicy: String?
    var errors: [String]
    var messages: Int
    var passed: Int
    var isCutShort: Bool
    var records: [Record]

    init(_ report: DMARCAggregateReport) {
        organization = report.metadata.organization
        email = report.metadata.email
        reportID = report.metadata.reportID
        begin = DateTime(secondsSince1970: report.metadata.begin).description
        end = DateTime(secondsSince1970: report.metadata.end).description
        domain = report.policy.domain
        policy = report.policy.policy
        subdomainPolicy = report.policy.subdomainPolicy
        errors = report.metadata.errors
        isCutShort = report.isCutShort
        messages = report.records.reduce(0) { $0 + $1.count }
        passed = report.records.reduce(0) { $0 + ($1.dkim == "pass" || $1.spf == "pass" ? $1.count : 0) }
        records = report.records.sorted { $0.count > $1.count }.map { record in
            Record(
                source: record.sourceAddress,
                count: record.count,
                disposition: record.disposition,
                dkim: record.dkim,
                spf: record.spf,
                headerFrom: record.headerFrom,
                envelopeFrom: record.envelopeFrom,
                signatures: record.signatures.map { "\($0.domain) \($0.selector ?? "") \($0.result)" },
                senders: record.senders.map { "\($0.domain) \($0.scope ?? "") \($0.result)" },
                reasons: record.reasons.map { "\($0.type)\($0.comment.map { ": \($0)" } ?? "")" }
            )
        }
    }

    func show() {
        print("from \(shown(organization)) <\(shown(email))>, report \(shown(reportID))")
        print("of \(begin) to \(end)")
        print("about \(shown(domain)), p=\(shown(policy))\(subdomainPolicy.map { " sp=" + shown($0) } ?? "")")
        print("messages: \(messages), of which \(passed) passed")
        for error in errors { print("! \(shown(error))") }
        if isCutShort { print("! there are more records than are read") }
        for record in records {
            print(
                "\(record.count)  \(shown(record.source))  \(shown(record.disposition))  dkim=\(shown(record.dkim)) "
                    + "spf=\(shown(record.spf))  from \(shown(record.headerFrom))"
            )
            for signature in record.signatures { print("      dkim \(shown(signature))") }
            for sender in record.senders { print("      spf \(shown(sender))") }
            for reason in record.reasons { print("      because \(shown(reason))") }
        }
    }
}
