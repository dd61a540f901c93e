import DNS
import MailAuth
import TLS

/// What the recipients' domain asks for with its MTA-STS policy (RFC 8461 §5).
struct MTASTSPolicyCheck: TransportPolicy {
    let policy: MTASTSPolicy

    func demand(_ target: Target) throws(SMTPClient.Failure) -> SessionPolicy? {
        let name = target.name ?? ""
        let isNamed = (try? DomainName(name)).map(policy.matches) ?? false
        switch policy.mode {
        case .none: return nil
        case .testing:
            // Mail goes as it would without the policy; whether it would have gone with it is for the report.
            return SessionPolicy(
                source: .mtaSTS,
                demand: .opportunistic(isNamed ? .authorities(names: [name], isRequired: false) : .nothing),
                serverName: target.name
            )
        case .enforce:
            guard isNamed else {
                throw .policy(.notInPolicy, "the domain's MTA-STS policy doesn't name the host \(target.host)")
            }
            return SessionPolicy(
                source: .mtaSTS,
                demand: .verified(.authorities(names: [name])),
                serverName: name
            )
        }
    }

    /// Whether the domain vouches for the host as one of its own (RFC 8689 §4.2.1).
    func vouches(for target: Target) -> Bool {
        policy.mode == .enforce && (target.name.flatMap { try? DomainName($0) }.map(policy.matches) ?? false)
    }
}
