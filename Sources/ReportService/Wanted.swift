import DNS
import MailAuth

/// Where a domain wants reports to go now.
struct Wanted {
    /// The policy, for DMARC.
    private(set) var record: DMARCRecord?
    /// Addresses of mail.
    private(set) var destinations: [DMARCReportURI] = []
    /// Addresses that nothing is sent to, and why.
    private(set) var refused: [String] = []

    /// - Throws: where it can't be known now.
    init(_ subject: ReportSubject, _ lookup: any MailAuthLookup) async throws(MailAuthLookupError) {
        guard let name = try? DomainName(subject.domain), !name.isRoot else { return }
        switch subject.kind {
        case .dmarc: try await askDMARC(name, subject.domain, lookup)
        case .tls: try await askTLS(name, lookup)
        }
    }

    private mutating func askDMARC(
        _ name: DomainName,
        _ domain: String,
        _ lookup: any MailAuthLookup
    ) async throws(MailAuthLookupError) {
        // Nothing vouches for a message: the outcome is what the domain asks for.
        let author = DMARCAuthor.domain(Array(domain.utf8))
        let outcome = await DMARCCheck.run(author: author, identifiers: [], sample: 0, lookup: lookup)
        guard outcome.result != .temperror else { throw .temporary }
        // Where the record is gone, one above it may have taken its place: its reports are its own.
        guard let found = outcome.record, outcome.policyDomain == name else { return }
        record = found
        let verdicts = try await DMARCReportDestination.verify(
            found.aggregateReports,
            policyDomain: name,
            lookup: lookup
        )
        destinations = verdicts.filter(\.isAccepted).map(\.uri)
        for verdict in verdicts where !verdict.isAccepted {
            refused.append("\(String(decoding: verdict.uri.uri, as: UTF8.self)): \(verdict.reason)")
        }
    }

    private mutating func askTLS(_ name: DomainName, _ lookup: any MailAuthLookup) async throws(MailAuthLookupError) {
        let labels = ["_smtp", "_tls"].map { Array($0.utf8)[...] } + name.labels
        guard let place = try? DomainName(labels: labels) else { return }
        do throws(MailAuthLookupError) {
            let texts = try await lookup.txt(place)
            for uri in TLSReportRecord(texts: texts)?.destinations ?? [] {
                if let mail = DMARCReportURI(parsing: uri[...]), mail.mailbox != nil {
                    destinations.append(mail)
                } else {
                    refused.append("\(String(decoding: uri, as: UTF8.self)): only mail is sent")
                }
            }
        } catch {
            guard error.isVoid else { throw error }
        }
    }
}
