import MailAuth
import NIOCore
import Network
import Reporting
import SMTP

extension DMARCEvaluation {
    /// What a report says of a message; nil where the author's domain asks for no reports, or nothing is known, or the message
    /// will come again.
    ///
    /// - Parameter check: before anything in it was overridden.
    init?(
        _ check: AuthenticationCheck,
        of origin: MessageAuthentication.Origin,
        _ action: AuthenticationVerdict.Action,
        followsDMARC: Bool
    ) {
        let outcome = check.dmarc
        guard outcome.result == .pass || outcome.result == .fail, let record = outcome.record,
            !record.aggregateReports.isEmpty, let domain = outcome.policyDomain,
            let source = SocketAddress(octets: origin.address, port: 0)?.ipAddress
        else { return nil }
        if case .defer = action { return nil }
        let author = String(decoding: outcome.domain, as: UTF8.self).lowercased()
        self.init(policyDomain: Self.text(domain), source: source, headerFrom: author)
        envelopeFrom = origin.sender.address?.domain.lowercased() ?? ""
        let passing = outcome.alignments.filter { $0.isAligned && $0.identifier.passed }
        isAlignedByDKIM = passing.contains { $0.identifier.mechanism == .dkim }
        isAlignedBySPF = passing.contains { $0.identifier.mechanism == .spf }
        signatures = Self.signatures(check, author: outcome.domain, passing)
        sender = check.spf.last.map {
            Sender(domain: String(decoding: $0.query.domain, as: UTF8.self), result: $0.outcome.result.rawValue)
        }
        if outcome.result == .pass {
            disposition = outcome.policy == .none ? .none : .pass
            if case .reject = action {
                disposition = .reject
                reasons.append(Reason(.localPolicy, "SPF failed"))
            }
            return
        }
        explain(outcome, record, action, followsDMARC: followsDMARC)
    }

    /// What was done to a message that failed, and why not something else (RFC 9990 §3.1.6).
    private mutating func explain(
        _ outcome: DMARCOutcome,
        _ record: DMARCRecord,
        _ action: AuthenticationVerdict.Action,
        followsDMARC: Bool
    ) {
        if outcome.disposition != outcome.policy {
            reasons.append(
                record.isTesting
                    ? Reason(.policyTestMode, "t=y") : Reason(.other, "sampled out: pct=\(record.percentage)")
            )
        }
        switch action {
        case .accept, .defer:
            if outcome.disposition != .none { reasons.append(Reason(.localPolicy, "policies are not acted upon")) }
        case .acceptAsForwarded(let sealer): reasons.append(Reason(.trustedForwarder, "arc=pass d=\(sealer)"))
        case .quarantine: disposition = .quarantine
        case .reject:
            disposition = .reject
            if outcome.disposition != .reject { reasons.append(Reason(.localPolicy, "SPF failed")) }
        }
    }

    /// In the order in which a reader wants them: those that pass aligned with the author's domain first (RFC 9990 §3.1.3).
    private static func signatures(
        _ check: AuthenticationCheck,
        author: [UInt8],
        _ passing: [DMARCOutcome.Alignment]
    ) -> [Signature] {
        let aligned = Set(passing.filter { $0.identifier.mechanism == .dkim }.map(\.identifier.domain))
        let ranked = check.dkim.compactMap { outcome -> (rank: Int, signature: Signature)? in
            guard let signature = outcome.signature else { return nil }
            let isPass = outcome.result == .pass
            let rank =
                switch (isPass, signature.domain == author, aligned.contains(signature.domain)) {
                case (true, true, _): 0
                case (true, false, true): 1
                case (true, false, false): 2
                case (false, _, _): 3
                }
            let values = [signature.domain, signature.selector].map { String(decoding: $0, as: UTF8.self) }
            return (rank, Signature(domain: values[0], selector: values[1], result: outcome.result.rawValue))
        }
        return ranked.enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }
            .prefix(maximumSignatures).map(\.element.signature)
    }

    /// What the administrator's rules made of a message has the last word.
    ///
    /// - Parameters:
    ///   - isTaken: whether the message was taken, or thrown away as if.
    ///   - isJunk: whether it went to Junk.
    package mutating func override(rule: Int, isTaken: Bool, isJunk: Bool) {
        let isFailure = !isAlignedByDKIM && !isAlignedBySPF
        let done: Disposition = !isTaken ? .reject : isJunk ? .quarantine : .none
        // Mail that passes is refused for other reasons than DMARC's.
        guard isFailure, done != disposition else { return }
        disposition = done
        reasons.append(Reason(.localPolicy, "rule \(rule)"))
    }
}

extension DMARCEvaluation {
    /// Without the dot at the end.
    private static func text(_ name: some CustomStringConvertible) -> String {
        let text = name.description.lowercased()
        return text.hasSuffix(".") && text.utf8.count > 1 ? String(text.dropLast()) : text
    }
}
