import Daemon
import MailAuth
import TLS

/// Decides how mail goes to the hosts of one destination: the strictest of all policies that apply, but where a host's TLSA records can
/// be used, they stand in for authorities (RFC 8461 §2).
struct PolicyDecision: Sendable {
    let rule: RelayTLSRule
    /// Whether it's nobody's line for this destination.
    var isStandardRule = false
    var domain: String?
    var sts: MTASTSPolicy?
    /// Whether it's certain that the domain has no other MTA-STS policy.
    var isSTSKnown = true
    var requiresTLS = false
    /// Whether the sender wants it to arrive whatever is published (RFC 8689 §3). Your own lines hold all the same.
    var ignoresPublished = false
    /// Whether there are authorities to verify certificates by.
    var hasAuthorities = true

    /// - Throws: where the host may not be used.
    func policy(for target: Target) throws(SMTPClient.Failure) -> SessionPolicy {
        let configured = ConfiguredPolicy(rule: rule, isStandard: isStandardRule, domain: domain)
        let usesPublished = rule.usesPublished && !(ignoresPublished && rule.level != .daneOnly)
        let check = usesPublished ? sts.map { MTASTSPolicyCheck(policy: $0) } : nil
        // What is pinned is pinned.
        guard rule.level != .fingerprint else { return try strictest([try configured.demand(target)]) }
        var demands: [SessionPolicy?] = []
        if usesPublished {
            let dane = try DANEPolicy(isRequired: rule.level == .daneOnly).demand(target)
            if let dane, case .verified = dane.demand { return dane }
            demands.append(dane)
            demands.append(try check?.demand(target))
        }
        demands.append(try configured.demand(target))
        if requiresTLS { demands.append(try RequiredTLSPolicy(sts: check, isSTSKnown: isSTSKnown).demand(target)) }
        return try strictest(demands)
    }

    /// What is asked for, with the names that the administrator wants in the certificate, where another's are in there already: both
    /// must be.
    private func withOwnNames(_ policy: SessionPolicy) -> SessionPolicy {
        guard rule.level == .verify, !rule.names.isEmpty,
            case .verified(.authorities(let names, true, _)) = policy.demand,
            names != rule.names
        else { return policy }
        return SessionPolicy(
            source: policy.source,
            demand: .verified(.authorities(names: names, alsoNames: rule.names)),
            serverName: policy.serverName
        )
    }

    /// The first of the strictest.
    private func strictest(_ demands: [SessionPolicy?]) throws(SMTPClient.Failure) -> SessionPolicy {
        var strictest: SessionPolicy?
        for case let demand? in demands where demand.strictness > strictest?.strictness ?? -1 { strictest = demand }
        guard let strictest else { throw .tls("there is no policy", nil) }
        guard case .authorities(let names, let isRequired, _) = strictest.verification, !hasAuthorities else {
            return withOwnNames(strictest)
        }
        guard isRequired else {
            return SessionPolicy(source: strictest.source, demand: .opportunistic(.nothing), serverName: names.first)
        }
        throw .policy(.noAuthorities, "there are no authorities to verify certificates by")
    }
}
