import MailAuth
import MailRules

extension AuthenticationCheck {
    /// Results by their methods, for the log and for rules.
    package var results: [(method: String, result: String)] {
        var results: [(method: String, result: String)] = []
        if let spf = spf.last { results.append(("spf", spf.outcome.result.rawValue)) }
        // One that passes says more than those that don't.
        let signature = dkim.first { $0.result == .pass } ?? dkim.first
        results.append(("dkim", signature?.result.rawValue ?? "none"))
        if arc.result != .none { results.append(("arc", arc.result.rawValue)) }
        results.append(("dmarc", dmarc.result.rawValue))
        if dmarc.result == .fail { results.append(("dmarc-policy", dmarc.disposition.rawValue)) }
        return results
    }

    /// Domains of DKIM signatures that hold.
    package var signedBy: [String] {
        dkim.filter { $0.result == .pass }.compactMap(\.signature).map { String(decoding: $0.domain, as: UTF8.self) }
    }
}

extension MessageFacts {
    /// What is known of a message at its end.
    ///
    /// - Parameters:
    ///   - check: nil where it wasn't checked.
    ///   - size: octets.
    package init(_ check: AuthenticationCheck?, size: Int) {
        self.init(check?.results ?? [], signedBy: check?.signedBy ?? [], size: size)
    }

    package init(_ results: [(method: String, result: String)], signedBy: [String], size: Int) {
        let pairs = results.map { ($0.method, $0.result) }
        self.init(size: size, results: Dictionary(pairs) { first, _ in first }, signedBy: signedBy)
    }
}
