import MIME
import MailAuth
import NIOCore
import SMTP

/// What is made of the results of SPF, DKIM, ARC and DMARC.
package struct AuthenticationPolicy: Sendable {
    /// Our name in Authentication-Results (RFC 8601 §2.5).
    package var authservID: String
    /// Whether what the author's domain asks for is done to mail that fails DMARC; else it's only written down.
    package var followsDMARC = true
    /// Whether mail is refused whose client SPF says `fail` of.
    package var refusesSPFFailures = false
    /// Whether mail has to wait whose author's records can't be looked up now; else it's taken as if there were none.
    package var defersInTrouble = false
    /// Domains whose ARC seals are believed, in lower case.
    package var trustedSealers: Set<String> = []
    /// How long answers are waited for once the message is there.
    package var timeout = TimeAmount.seconds(20)

    package init(authservID: String) { self.authservID = authservID }

    /// What becomes of a message.
    ///
    /// - Parameter isCutOff: our own limits left something unknown: who makes the DNS slow must not get past DMARC by it.
    package func action(
        on check: AuthenticationCheck,
        of message: HashedMessage,
        isCutOff: Bool = false
    ) -> AuthenticationVerdict.Action {
        let outcome = check.dmarc
        if refusesSPFFailures, let fault = refusal(of: check.spf.last) { return fault }
        switch outcome.result {
        case .pass, .none: return .accept
        case .permerror: return followsDMARC ? action(on: DMARCAuthor(message), outcome) : .accept
        case .temperror:
            guard defersInTrouble || isCutOff && followsDMARC else { return .accept }
            return .defer(.authenticationTrouble, "the records of the author's domain cannot be looked up now")
        case .fail: break
        }
        guard followsDMARC else { return .accept }
        let domain = String(decoding: outcome.domain, as: UTF8.self)
        switch outcome.disposition {
        case .none: return .accept
        case .quarantine, .reject:
            if let sealer = trustedSealer(check.arc, outcome.domain, message) { return .acceptAsForwarded(by: sealer) }
            guard outcome.disposition == .reject else { return .quarantine }
            if mayStillPass(check) {
                return .defer(.authenticationTrouble, "what would vouch for \(domain) cannot be looked up now")
            }
            let reasons = check.reasons.map { " (\($0.method.uppercased()): \($0.reason))" }.joined()
            let text = "\(domain) asks to refuse mail that fails DMARC: \(outcome.reason)\(reasons)"
            return .reject(.authenticationFailed, text)
        }
    }

    /// Whether SPF or a signature that would make DMARC pass could not be judged now: that is no reason to refuse for good.
    private func mayStillPass(_ check: AuthenticationCheck) -> Bool {
        check.dmarc.alignments.contains { alignment in
            guard alignment.isAligned else { return false }
            switch alignment.identifier.mechanism {
            case .spf: return check.spf.last?.outcome.result == .temperror
            case .dkim:
                return check.dkim.contains {
                    $0.result == .temperror && $0.signature?.domain == alignment.identifier.domain
                }
            }
        }
    }

    /// What becomes of a message that no one domain answers for (RFC 7489 §6.6.1). Several authors are a forger's trick;
    /// what names none may be a poor program's. An address whose domain can't be looked up is shown to people all the same.
    private func action(on author: DMARCAuthor, _ outcome: DMARCOutcome) -> AuthenticationVerdict.Action {
        switch author {
        case .severalFields, .severalDomains: .reject(.authenticationFailed, outcome.reason)
        case .tooLong, .noDomain: .quarantine
        case .noField, .noAddress, .domain: .accept
        }
    }

    private func refusal(of spf: AuthenticationCheck.SPF?) -> AuthenticationVerdict.Action? {
        guard let spf, spf.outcome.result == .fail else { return nil }
        var text = "SPF: \(spf.outcome.reason)"
        if let explanation = spf.outcome.explanation {
            let domain = String(decoding: spf.query.domain, as: UTF8.self)
            text += " (\(domain) explained: \(String(decoding: explanation.prefix(200), as: UTF8.self)))"
        }
        return .reject(.spfFailed, text)
    }

    /// The host that vouches for a message that was changed on its way, such as by a mailing list: it's trusted, its seal
    /// holds, and it saw DMARC pass for this author (RFC 8617 §7.2.1).
    ///
    /// From the newest set down, and no further than to the first host that isn't trusted: it may have put anything
    /// below an old chain. Nor below the oldest message signature that holds: the message was another one then.
    private func trustedSealer(_ arc: ARCOutcome, _ author: [UInt8], _ message: HashedMessage) -> String? {
        guard arc.result == .pass, !trustedSealers.isEmpty else { return nil }
        // Where it isn't known, the newest alone counts: its message signature holds.
        let oldest = max(1, arc.oldestPass ?? arc.chain.highestInstance)
        for set in arc.chain.sets.reversed() {
            guard set.instance >= oldest, let seal = arc.seals.first(where: { $0.instance == set.instance }),
                seal.isGood
            else { return nil }
            let domain = String(decoding: seal.domain, as: UTF8.self).lowercased()
            guard trustedSealers.contains(domain) else { return nil }
            let field = message.header.octets[message.header.fields[set.results].value]
            guard let payload = ARCAuthenticationResults.payload(field),
                let results = try? AuthenticationResults(field: payload)
            else { continue }
            if results.entries.contains(where: { Self.isPass($0, of: author) }) { return domain }
        }
        return nil
    }

    /// Whether a result says that DMARC passed for that author.
    private static func isPass(_ entry: AuthenticationResults.Entry, of author: [UInt8]) -> Bool {
        ASCII.equal(entry.method, "dmarc") && ASCII.equal(entry.result, "pass")
            && entry.properties.contains { property in
                ASCII.equal(property.type, "header") && ASCII.equal(property.name, "from")
                    && property.value.map(ASCII.lower) == author.map(ASCII.lower)
            }
    }
}

extension EnhancedStatusCode {
    /// 5.7.23: SPF validation failed (RFC 7372 §3.2).
    static let spfFailed = EnhancedStatusCode(5, 7, 23)
    /// 5.7.26: several authentication checks failed (RFC 7372 §3.3).
    static let authenticationFailed = EnhancedStatusCode(5, 7, 26)
    /// 4.7.24: a check met trouble that may pass (RFC 7372 §3.2 has it for SPF).
    static let authenticationTrouble = EnhancedStatusCode(4, 7, 24)
}
