import MailAuth
import MailRules

extension AuthenticationCheck {
    /// Results by their methods, for the log and for rules.
    package var results: [(method: String, result: String)] {
        var results: [(method: String, result: String)] = []
        if let spf = spf.last { results.append(("spf", spf.outcome.result.rawValue)) }
        // One that passes says more than those that don't, and one that may pass later more than those that never do.
        let signature = dkim.first { $0.result == .pass } ?? dkim.first { $0.result == .temperror } ?? dkim.first
        results.append(("dkim", signature?.result.rawValue ?? "none"))
        if arc.result != .none { results.append(("arc", arc.result.rawValue)) }
        results.append(("dmarc", dmarc.result.rawValue))
        if dmarc.result == .fail { results.append(("dmarc-policy", dmarc.disposition.rawValue)) }
        return results
    }

    /// Domains of DKIM signatures that hold.
    package var signedBy: [String] { signers { $0 == .pass } }

    /// Domains of DKIM signatures that can't be judged now.
    package var maybeSignedBy: [String] { signers { $0 == .temperror } }

    /// Why SPF doesn't pass, and why the first DKIM signature that isn't good is not, by method; parts may be a stranger's text.
    package var reasons: [(method: String, reason: String)] {
        var reasons: [(method: String, reason: String)] = []
        if let spf = spf.last?.outcome, spf.result != .pass { reasons.append(("spf", spf.reason)) }
        if let bad = dkim.first(where: { $0.result != .pass }) {
            let domain = bad.signature.map { String(decoding: $0.domain, as: UTF8.self) + ": " } ?? ""
            reasons.append(("dkim", domain + bad.reason))
        }
        return reasons.map { ($0.method, String($0.reason.prefix(Self.maximumReason))) }
    }

    /// Characters of a reason; the rest is left out.
    private static let maximumReason = 200

    private func signers(_ isMeant: (DKIMResult) -> Bool) -> [String] {
        dkim.filter { isMeant($0.result) }.compactMap(\.signature).map { String(decoding: $0.domain, as: UTF8.self) }
    }
}

extension MessageFacts {
    /// What is known of a message at its end.
    ///
    /// - Parameters:
    ///   - check: nil where it wasn't checked.
    ///   - size: octets.
    package init(_ check: AuthenticationCheck?, size: Int) {
        self.init(
            check?.results ?? [],
            signedBy: check?.signedBy ?? [],
            maybeSignedBy: check?.maybeSignedBy ?? [],
            size: size
        )
    }

    /// What is known of a message whose authentication came to that; nil where it wasn't checked.
    package init(_ verdict: AuthenticationVerdict?, size: Int) {
        self.init(
            verdict?.results ?? [],
            signedBy: verdict?.signedBy ?? [],
            maybeSignedBy: verdict?.maybeSignedBy ?? [],
            size: size
        )
    }

    private init(
        _ results: [(method: String, result: String)],
        signedBy: [String],
        maybeSignedBy: [String],
        size: Int
    ) {
        let pairs = results.map { ($0.method, $0.result) }
        self.init(
            size: size,
            results: Dictionary(pairs) { first, _ in first },
            signedBy: signedBy,
            maybeSignedBy: maybeSignedBy
        )
    }
}
