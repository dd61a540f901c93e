import Daemon
import Deliverer

/// What one delivery knows beside the hosts that it tries.
struct Way {
    let job: DeliveryJob
    /// The recipients' domain.
    let domain: String?
    /// What that asks for by MTA-STS.
    let sts: MTASTSPolicies.Finding
    /// Whether the sender wants verified TLS all the way (RFC 8689).
    let requiresTLS: Bool
    let source: RemoteRelayConfiguration.Source
}
