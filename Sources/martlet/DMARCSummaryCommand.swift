import ArgumentParser
import AuthReports
import Files
import MIME
import MailAuth
import NIOCore
import Network
import SMTP

/// `martlet dmarc summary PLACE …`.
struct DMARCSummaryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "summary",
        abstract: "Says who sends as our domains, by the reports that others sent about them.",
        discussion: """
            Reads files as `martlet dmarc report` does, and all files beneath directories, such as the Maildir that reports \
            arrive in; what is no report is passed over. A report that is there twice counts once.
            """
    )

    @Argument(help: "Files, and directories such as a Maildir.", completion: .file()) var places: [String]
    @Option(help: ArgumentHelp("Only reports that reach to this day or beyond.", valueName: "YYYY-MM-DD"))
    var since: String?
    @Option(help: "Only reports about this domain.") var domain: String?
    @Flag(help: "Looks up the names of sources in the DNS.") var names = false
    @Flag(help: "For programs: one JSON document.") var json = false
    @OptionGroup var source: LookupOptions

    /// Directories within directories.
    private static let maximumDepth = 8

    func validate() throws {
        guard since == nil || Self.day(since ?? "") != nil else {
            throw ValidationError("--since is a day such as 2026-11-30")
        }
    }

    private static func day(_ text: String) -> Int? {
        InternetTimestamp.seconds("\(text)T00:00:00Z".utf8).map { Int($0) }
    }

    func run() async throws {
        // The DNS of the instance is asked from its directory: files come first.
        var summary = DMARCSummary(since: since.flatMap(Self.day), domain: domain?.lowercased())
        for place in places { try read(place, depth: 0, isNamed: true, &summary) }
        var found: [String: String] = [:]
        if names { found = try await lookUp(summary) }
        let document = DMARCSummaryDocument(summary, names: found)
        if json { try JSONOutput.print(document) } else { document.show() }
    }

    /// - Parameter isNamed: whether it was said to be a report, or a directory.
    private func read(_ path: String, depth: Int, isNamed: Bool, _ summary: inout DMARCSummary) throws {
        guard path != "-" else { return try take(path, isNamed: true, &summary) }
        let files = KernelFileSystem()
        let status: FileStatus
        do throws(FileError) {
            status = try files.status(path, in: nil, followingLinks: isNamed)
        } catch {
            // Readers of a Maildir rename its files meanwhile.
            if !isNamed, error.isMissing { return }
            throw ValidationError("\(error)")
        }
        switch status.kind {
        case .directory:
            guard depth < Self.maximumDepth else { return }
            for name in try files.names(path, in: nil).map(FileName.text).sorted() {
                try read("\(path)/\(name)", depth: depth + 1, isNamed: false, &summary)
            }
        case .file: try take(path, isNamed: isNamed, &summary)
        case .other: break
        }
    }

    private func take(_ path: String, isNamed: Bool, _ summary: inout DMARCSummary) throws {
        do {
            let most = ReportMail.mostOctets(ofReport: DMARCAggregateReport.maximumOctets)
            summary.add(try DMARCAggregateReport(arrived: try FileOctets.read(path, most: most)))
        } catch {
            if isNamed { throw ValidationError("\(path): not a report that can be read: \(error)") }
            summary.others += 1
        }
    }

    private func lookUp(_ summary: DMARCSummary) async throws -> [String: String] {
        let lookup = try source.lookup()
        var names: [String: String] = [:]
        for address in Set(summary.sources.keys.map(\.address)) {
            guard let octets = (try? SocketAddress(ipAddress: address, port: 0))?.addressOctets else { continue }
            names[address] = await ReverseNameCheck.run(octets, lookup: lookup).name
        }
        return names
    }
}

/// What several reports come to.
struct DMARCSummary {
    struct Source: Hashable {
        var domain: String
        var address: String
    }

    struct Counts {
        var messages = 0
        /// Of which DKIM passed aligned, SPF did, and one of them did.
        var dkim = 0
        var spf = 0
        var passed = 0
        var dispositions: [String: Int] = [:]
        /// Domains that the mail came in the name of, on the envelope.
        var senders: Set<String> = []
    }

    let since: Int?
    let domain: String?
    private(set) var sources: [Source: Counts] = [:]
    private(set) var reporters: Set<String> = []
    private(set) var reports = 0
    private(set) var begin = Int.max
    private(set) var end = Int.min
    /// Files that are no reports.
    var others = 0
    private var known: Set<[String]> = []

    /// The most names of senders that are kept of a source.
    private static let maximumSenders = 5

    init(since: Int?, domain: String?) {
        self.since = since
        self.domain = domain
    }

    mutating func add(_ report: DMARCAggregateReport) {
        let about = report.policy.domain.lowercased()
        guard domain == nil || domain == about, since.map({ report.metadata.end >= $0 }) ?? true,
            known.insert([report.metadata.organization, report.metadata.reportID, about]).inserted
        else { return }
        reports += 1
        reporters.insert(report.metadata.organization)
        begin = min(begin, report.metadata.begin)
        end = max(end, report.metadata.end)
        for record in report.records {
            var counts = sources[Source(domain: about, address: record.sourceAddress)] ?? Counts()
            counts.messages = sum(counts.messages, record.count)
            if record.dkim == "pass" { counts.dkim = sum(counts.dkim, record.count) }
            if record.spf == "pass" { counts.spf = sum(counts.spf, record.count) }
            if record.dkim == "pass" || record.spf == "pass" { counts.passed = sum(counts.passed, record.count) }
            // RFC 9990's `pass` is the `none` of those before.
            let done = record.disposition == "pass" ? "none" : record.disposition
            counts.dispositions[done] = sum(counts.dispositions[done] ?? 0, record.count)
            let sender = record.envelopeFrom ?? record.senders.first?.domain ?? ""
            if !sender.isEmpty, counts.senders.count < Self.maximumSenders {
                counts.senders.insert(sender.lowercased())
            }
            sources[Source(domain: about, address: record.sourceAddress)] = counts
        }
    }

    private func sum(_ one: Int, _ other: Int) -> Int {
        let (sum, isTooLarge) = one.addingReportingOverflow(other)
        return isTooLarge ? .max : sum
    }
}

/// A summary as programs read it.
struct DMARCSummaryDocument: Encodable {
    struct Source: Encodable {
        var source: String
        var name: String?
        var domain: String
        var messages: Int
        var passed: Int
        var dkim: Int
        var spf: Int
        var dispositions: [String: Int]
        var senders: [String]
    }

    var reports: Int
    var reporters: [String]
    var otherFiles: Int
    var begin: String?
    var end: String?
    var messages: Int
    var passed: Int
    var sources: [Source]

    init(_ summary: DMARCSummary, names: [String: String]) {
        reports = summary.reports
        reporters = summary.reporters.sorted()
        otherFiles = summary.others
        begin = reports > 0 ? DateTime(secondsSince1970: summary.begin).description : nil
        end = reports > 0 ? DateTime(secondsSince1970: summary.end).description : nil
        messages = summary.sources.values.reduce(0) { $0 &+ $1.messages }
        passed = summary.sources.values.reduce(0) { $0 &+ $1.passed }
        sources = summary.sources.map { source, counts in
            Source(
                source: source.address,
                name: names[source.address],
                domain: source.domain,
                messages: counts.messages,
                passed: counts.passed,
                dkim: counts.dkim,
                spf: counts.spf,
                dispositions: counts.dispositions,
                senders: counts.senders.sorted()
            )
        }.sorted { ($0.domain, -$0.messages, $0.source) < ($1.domain, -$1.messages, $1.source) }
    }

    func show() {
        print("\(reports) reports of \(reporters.count) receivers, \(otherFiles) other files", terminator: "")
        print(begin.map { ", of \($0) to \(end ?? "")" } ?? "")
        print("messages: \(messages), of which \(passed) passed")
        var domain: String?
        for source in sources {
            if source.domain != domain { print("\(shown(source.domain)):") }
            domain = source.domain
            let done = source.dispositions.sorted { $0.key < $1.key }.map { "\(shown($0.key))=\($0.value)" }
            let words = [
                "\(source.messages)", shown(source.source), source.name.map { shown($0) } ?? "-",
                "passed=\(source.passed)", "dkim=\(source.dkim)", "spf=\(source.spf)", done.joined(separator: " "),
                source.senders.isEmpty ? nil : "by " + source.senders.map { shown($0) }.joined(separator: ", "),
            ]
            print("  " + words.compactMap { $0 }.joined(separator: "  "))
        }
    }
}
