import DNS

/// Whether the addresses that a record names want its reports (RFC 7489 §7.1).
package enum DMARCReportDestination {
    /// An address, and why reports do or don't go there.
    package struct Verdict: Sendable, Hashable {
        package var uri: DMARCReportURI
        package var isAccepted: Bool
        package var reason: String
    }

    /// Asks the domains of all addresses that aren't the policy's own.
    ///
    /// - Throws: when a name could not be looked up; the reports wait then.
    package static func verify(
        _ uris: [DMARCReportURI],
        policyDomain: DomainName,
        lookup: any MailAuthLookup
    ) async throws(MailAuthLookupError) -> [Verdict] {
        var walk = DMARCTreeWalk(lookup)
        let organization = try await walk.organizationalDomain(of: policyDomain)
        var verdicts: [Verdict] = []
        for uri in uris.prefix(DMARCRecord.maximumURIs) {
            guard let octets = uri.mailDomain, let domain = SPFLookups.name(octets) else {
                verdicts.append(Verdict(uri: uri, isAccepted: false, reason: "not an address that mail can go to"))
                continue
            }
            var isOwn = domain == policyDomain
            if !isOwn { isOwn = try await walk.organizationalDomain(of: domain) == organization }
            if isOwn {
                verdicts.append(Verdict(uri: uri, isAccepted: true, reason: "the domain's own"))
                continue
            }
            verdicts.append(try await ask(uri, domain, policyDomain, lookup))
        }
        return verdicts
    }

    /// `DOMAIN._report._dmarc.DESTINATION` says that the destination takes the domain's reports, and perhaps at which
    /// of its own addresses.
    private static func ask(
        _ uri: DMARCReportURI,
        _ destination: DomainName,
        _ policyDomain: DomainName,
        _ lookup: any MailAuthLookup
    ) async throws(MailAuthLookupError) -> Verdict {
        let labels = policyDomain.labels + ["_report", "_dmarc"].map { Array($0.utf8)[...] } + destination.labels
        guard let name = try? DomainName(labels: labels) else {
            return Verdict(uri: uri, isAccepted: false, reason: "the name to ask for would be too long")
        }
        let records = try await DMARCRecord.texts(at: name, lookup)
        guard let text = records.first else {
            return Verdict(
                uri: uri,
                isAccepted: false,
                reason: "\(SPFLookups.text(name)) has no record that accepts them"
            )
        }
        let accepted = "\(SPFLookups.text(name)) accepts them"
        // Another address may take the place of this one, if it is of the same host.
        let other = DMARCRecord(parsing: text)?.aggregateReports.first { other in
            other.mailDomain.flatMap { SPFLookups.name($0) } == destination
        }
        return Verdict(uri: other ?? uri, isAccepted: true, reason: accepted)
    }
}
