import DNS

/// What a check of a message's author says (RFC 7489 §11.2).
package enum DMARCResult: String, Sendable {
    case none, pass, fail, temperror, permerror
}

/// A domain that something else vouches for: SPF's, or that of a DKIM signature.
package struct DMARCIdentifier: Sendable, Hashable {
    package enum Mechanism: String, Sendable { case spf, dkim }

    package var mechanism: Mechanism
    package var domain: [UInt8]
    package var passed: Bool

    package init(_ mechanism: Mechanism, domain: [UInt8], passed: Bool) {
        self.mechanism = mechanism
        self.domain = domain
        self.passed = passed
    }
}

/// The result of a check, and what to do about it.
package struct DMARCOutcome: Sendable {
    /// Whether a vouched domain is the author's.
    package struct Alignment: Sendable, Hashable {
        package var identifier: DMARCIdentifier
        package var isAligned: Bool
        package var reason: String
    }

    package var result: DMARCResult
    /// One sentence for people.
    package var reason: String
    /// The domain of the From field.
    package var domain: [UInt8]
    /// The domain whose record applies.
    package var policyDomain: DomainName?
    package var organizationalDomain: DomainName?
    package var record: DMARCRecord?
    /// What the domain asks for, before t and pct.
    package var policy = DMARCPolicy.none
    /// The tag that this comes from: p, sp or np.
    package var policyTag = "p"
    /// What to do with the message; none unless it failed.
    package var disposition = DMARCPolicy.none
    package var alignments: [Alignment] = []
    package var steps: [DMARCTreeWalk.Step] = []
}

/// Checks the author of a message (RFC 7489 §6.6, with the discovery of RFC 9989).
package struct DMARCCheck {
    /// The most vouched domains that are compared; later ones don't count.
    static let maximumIdentifiers = 20

    private let lookup: any MailAuthLookup
    private var walk: DMARCTreeWalk
    private var outcome: DMARCOutcome

    /// - Parameters:
    ///   - author: the domain of the From field.
    ///   - identifiers: what SPF and DKIM say.
    ///   - sample: 0 to 99, at random: decides whether a percentage of the domain's mail includes this message.
    package static func run(
        author: DMARCAuthor,
        identifiers: [DMARCIdentifier],
        sample: @autoclosure () -> Int,
        lookup: any MailAuthLookup
    ) async -> DMARCOutcome {
        guard case .domain(let octets) = author, let domain = SPFLookups.name(octets) else {
            return DMARCOutcome(result: .permerror, reason: author.description, domain: [])
        }
        var check = DMARCCheck(
            lookup: lookup,
            walk: DMARCTreeWalk(lookup),
            outcome: DMARCOutcome(result: .none, reason: "", domain: octets)
        )
        do throws(MailAuthLookupError) {
            try await check.run(domain, identifiers, sample: sample)
        } catch {
            check.outcome.result = .temperror
            check.outcome.reason = "a record of \(SPFLookups.text(domain)) or above it could not be looked up"
        }
        check.outcome.steps = check.walk.steps
        return check.outcome
    }

    private mutating func run(
        _ domain: DomainName,
        _ identifiers: [DMARCIdentifier],
        sample: () -> Int
    ) async throws(MailAuthLookupError) {
        let found = try await walk.walk(from: domain)
        let organization = DMARCTreeWalk.organizationalDomain(of: domain, found: found)
        outcome.organizationalDomain = organization
        guard let applying = DMARCTreeWalk.policy(for: domain, found: found) else {
            outcome.reason = "neither \(SPFLookups.text(domain)) nor a domain above it has a DMARC record"
            return
        }
        outcome.policyDomain = applying.domain
        outcome.record = applying.record
        try await choosePolicy(domain, applying)
        let couldNotAsk = await align(domain, organization, applying.record, identifiers)
        if let passing = outcome.alignments.first(where: { $0.isAligned && $0.identifier.passed }) {
            outcome.result = .pass
            outcome.reason = "\(passing.identifier.mechanism.rawValue) passes, and \(passing.reason)"
        } else if couldNotAsk {
            outcome.result = .temperror
            outcome.reason = "whether a vouched domain is the author's could not be looked up"
        } else {
            outcome.result = .fail
            outcome.reason = "neither SPF nor DKIM passes for \(SPFLookups.text(domain))"
            outcome.disposition = disposition(applying.record, sample: sample)
        }
    }

    /// p for the domain itself, np or sp for those below (RFC 9989 §4.10.1).
    private mutating func choosePolicy(
        _ domain: DomainName,
        _ applying: DMARCTreeWalk.Found
    ) async throws(MailAuthLookupError) {
        let record = applying.record
        outcome.policy = record.policy
        guard applying.domain != domain else { return }
        if let policy = record.nonexistentPolicy, try await !exists(domain) {
            outcome.policy = policy
            outcome.policyTag = "np"
        } else if let policy = record.subdomainPolicy {
            outcome.policy = policy
            outcome.policyTag = "sp"
        }
    }

    /// Whether a name, or one below it, has any record (RFC 8020, as RFC 9989 has it).
    private func exists(_ domain: DomainName) async throws(MailAuthLookupError) -> Bool {
        do throws(MailAuthLookupError) {
            _ = try await lookup.ip4Addresses(domain)
            return true
        } catch {
            guard error.isVoid else { throw error }
            return error != .noSuchName
        }
    }

    private func disposition(_ record: DMARCRecord, sample: () -> Int) -> DMARCPolicy {
        var disposition = outcome.policy
        if record.isTesting { disposition = disposition.lessened }
        if record.percentage < 100, sample() >= record.percentage { disposition = disposition.lessened }
        return disposition
    }

    // MARK: Alignment

    /// Compares the vouched domains with the author's; true where a lookup failed on the way.
    private mutating func align(
        _ author: DomainName,
        _ organization: DomainName,
        _ record: DMARCRecord,
        _ identifiers: [DMARCIdentifier]
    ) async -> Bool {
        var couldNotAsk = false
        for identifier in identifiers.prefix(Self.maximumIdentifiers) {
            let mode = identifier.mechanism == .spf ? record.spfAlignment : record.dkimAlignment
            do throws(MailAuthLookupError) {
                let (isAligned, reason) = try await aligned(identifier, author, organization, mode)
                outcome.alignments.append(.init(identifier: identifier, isAligned: isAligned, reason: reason))
            } catch {
                couldNotAsk = couldNotAsk || identifier.passed
                let reason = "the organisational domain could not be looked up"
                outcome.alignments.append(.init(identifier: identifier, isAligned: false, reason: reason))
            }
        }
        return couldNotAsk
    }

    /// RFC 7489 §3.1.
    private mutating func aligned(
        _ identifier: DMARCIdentifier,
        _ author: DomainName,
        _ organization: DomainName,
        _ mode: DMARCAlignment
    ) async throws(MailAuthLookupError) -> (Bool, String) {
        let shown = String(decoding: identifier.domain, as: UTF8.self)
        guard let domain = SPFLookups.ascii(identifier.domain).flatMap({ SPFLookups.name($0) }) else {
            return (false, "\(shown) is not a domain")
        }
        let authorText = SPFLookups.text(author)
        if domain == author { return (true, "\(shown) is the author's domain") }
        if mode == .strict { return (false, "\(shown) is not \(authorText), and alignment is strict") }
        let organizationText = SPFLookups.text(organization)
        // What isn't below the organisational domain has another: no lookup says otherwise.
        guard domain.isSubdomain(of: organization) else {
            return (false, "\(shown) is not within \(organizationText), the author's organisational domain")
        }
        let other = try await walk.organizationalDomain(of: domain)
        if other == organization {
            return (true, "\(shown) and \(authorText) have the same organisational domain, \(organizationText)")
        }
        let reason = "\(shown) has \(SPFLookups.text(other)) as its organisational domain, not \(organizationText)"
        return (false, reason)
    }
}
