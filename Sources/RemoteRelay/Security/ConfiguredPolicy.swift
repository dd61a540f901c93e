import DNS
import Daemon
import TLS

/// What the administrator wants.
struct ConfiguredPolicy: TransportPolicy {
    let rule: RelayTLSRule
    /// Whether nobody has written a line for this destination.
    let isStandard: Bool
    /// The recipients' domain; nil where there is none.
    let domain: String?

    func demand(_ target: Target) throws(SMTPClient.Failure) -> SessionPolicy? {
        SessionPolicy(
            source: isStandard ? .standard : .configured,
            demand: try demand(of: rule.level, target),
            serverName: target.name
        )
    }

    private func demand(
        of level: RelayTLSRule.Level,
        _ target: Target
    ) throws(SMTPClient.Failure) -> SessionPolicy.Demand {
        switch level {
        case .none: return .clearText
        case .may: return .opportunistic(.nothing)
        // `DANEPolicy` sees to the rest.
        case .encrypt, .daneOnly: return .encrypted
        case .fingerprint: return .verified(.fingerprints(rule.fingerprints))
        case .verify:
            let names = rule.names.isEmpty ? standardNames(target) : rule.names
            guard !names.isEmpty else { throw .tls("there is no name to verify its certificate by", nil) }
            return .verified(.authorities(names: names))
        }
    }

    /// A host's name counts where nobody in between can have made it up; else it must be the domain's, or below it.
    private func standardNames(_ target: Target) -> [String] {
        if target.isAssured { return target.name.map { [$0] } ?? [] }
        guard let domain, domain.utf8.first != UInt8(ascii: "[") else { return [] }
        // Certificates have international names in ASCII (RFC 9525 §6.3).
        let name = HostLookup.domainName(domain).map { HostLookup.text($0) } ?? domain
        return [name, ".\(name)"]
    }
}
