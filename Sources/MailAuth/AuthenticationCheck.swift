import DNS
import MIME

/// What SPF, DKIM, ARC and DMARC say of one message together.
package struct AuthenticationCheck: Sendable {
    /// A check of the client, and what was asked.
    package struct SPF: Sendable {
        package let query: SPFQuery
        package let outcome: SPFOutcome

        package init(_ query: SPFQuery, lookup: any MailAuthLookup) async {
            self.query = query
            outcome = await SPFCheck.run(query, lookup: lookup)
        }
    }

    package let spf: [SPF]
    package let dkim: [DKIMOutcome]
    package let arc: ARCOutcome
    package var dmarc: DMARCOutcome

    /// Checks a message whose client was checked already.
    ///
    /// - Parameters:
    ///   - spf: the last one is about the sender, for DMARC; empty where the client isn't known.
    ///   - now: seconds since 1970.
    ///   - sample: 0 to 99, at random: decides whether a percentage of a domain's mail includes this message. It's asked for
    ///     where that matters.
    package static func run(
        _ message: HashedMessage,
        spf: [SPF],
        lookup: any MailAuthLookup,
        now: Int,
        sample: @autoclosure () -> Int
    ) async -> AuthenticationCheck {
        let dkim = await DKIMVerifier.verify(message, lookup: lookup, now: now)
        let arc = await ARCValidator.validate(message, lookup: lookup, now: now)
        // DMARC looks at the sender's domain, and at the client's name where there is no sender (RFC 7489 §3.1.2).
        let sender = spf.suffix(1).map {
            DMARCIdentifier(.spf, domain: $0.query.domain, passed: $0.outcome.result == .pass)
        }
        let signed = dkim.compactMap { outcome in
            outcome.signature.map {
                DMARCIdentifier(.dkim, domain: $0.domain, passed: outcome.result == .pass)
            }
        }
        let dmarc = await DMARCCheck.run(
            author: DMARCAuthor(message),
            identifiers: sender + signed,
            sample: sample(),
            lookup: lookup
        )
        return AuthenticationCheck(spf: spf, dkim: dkim, arc: arc, dmarc: dmarc)
    }

    /// What a host writes on top of the message.
    package func results(authservID: [UInt8]) -> AuthenticationResults {
        var entries = spf.map { AuthenticationResults.Entry($0.outcome, of: $0.query) }
        entries += dkim.isEmpty ? [.init(method: "dkim", result: "none")] : dkim.map { .init($0) }
        // What a failed lookup left open must not become a failure that whoever seals the message says forever.
        if arc.result != .none, !arc.isTemporary { entries.append(.init(arc)) }
        entries.append(.init(dmarc))
        return AuthenticationResults(authservID: authservID, entries: entries)
    }

    /// The names whose TXT records a check of a message asks for first, known as soon as its header has ended: who asks for
    /// them while the body comes has the answers at its end.
    package static func names(for message: MessageHasher) -> Set<DomainName> {
        guard let header = message.endedHeader else { return [] }
        var names = Set(message.signatures.read.map(\.keyName))
        if let set = ARCChain(header).sets.last {
            let seal = header.octets[header.fields[set.seal].value]
            let signature = header.octets[header.fields[set.messageSignature].value]
            if let name = try? ARCSeal(field: seal).keyName { names.insert(name) }
            if let name = try? DKIMSignature(field: signature, kind: .arcMessage).keyName { names.insert(name) }
        }
        if case .domain(let author) = DMARCAuthor(header), let domain = MailDomain.name(author) {
            names.formUnion(DMARCTreeWalk.names(from: domain))
        }
        return names
    }
}
