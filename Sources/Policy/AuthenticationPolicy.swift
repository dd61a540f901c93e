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
    package func action(on check: AuthenticationCheck, of message: HashedMessage) -> AuthenticationVerdict.Action {
        let outcome = check.dmarc
        if refusesSPFFailures, let fault = refusal(of: check.spf.last) { return fault }
        switch outcome.result {
        case .pass, .none, .permerror: return .accept
        case .temperror:
            guard defersInTrouble else { return .accept }
            return .defer(.authenticationTrouble, "the records of the author's domain cannot be looked up now")
        case .fail: break
        }
        guard followsDMARC else { return .accept }
        let domain = String(decoding: outcome.domain, as: UTF8.self)
        switch outcome.disposition {
        case .none: return .accept
        case .quarantine, .reject:
            if let sealer = trustedSealer(check.arc, message) { return .acceptAsForwarded(by: sealer) }
            guard outcome.disposition == .reject else { return .quarantine }
            let text = "\(domain) asks to refuse mail that fails DMARC: \(outcome.reason)"
            return .reject(.authenticationFailed, text)
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
    /// holds, and it saw DMARC pass (RFC 8617 §7.2.1).
    private func trustedSealer(_ arc: ARCOutcome, _ message: HashedMessage) -> String? {
        guard arc.result == .pass, !trustedSealers.isEmpty else { return nil }
        let seals = arc.seals.sorted { $0.instance < $1.instance }
        for (seal, set) in zip(seals, arc.chain.sets) where seal.isGood && seal.instance == set.instance {
            let domain = String(decoding: seal.domain, as: UTF8.self).lowercased()
            guard trustedSealers.contains(domain),
                let payload = ARCAuthenticationResults.payload(
                    message.header.octets[message.header.fields[set.results].value]
                ),
                let results = try? AuthenticationResults(field: payload)
            else { continue }
            let sawPass = results.entries.contains {
                $0.method.elementsEqual("dmarc".utf8) && $0.result.elementsEqual("pass".utf8)
            }
            if sawPass { return domain }
        }
        return nil
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
