import TLS

/// What the sender of a message asks for by REQUIRETLS: TLS with a host that is verified, and that its name was not made up on the
/// way (RFC 8689 §4.2.1). DANE and MTA-STS satisfy it.
struct RequiredTLSPolicy: TransportPolicy {
    let sts: MTASTSPolicyCheck?
    /// Whether it's certain that the domain has no other policy.
    let isSTSKnown: Bool

    func demand(_ target: Target) throws(SMTPClient.Failure) -> SessionPolicy? {
        guard target.isAssured || sts?.vouches(for: target) ?? false else {
            // Its policy may name the host.
            guard isSTSKnown else { throw .policy(.unknownPolicy, "the domain's MTA-STS policy can't be looked up") }
            throw .notAssured("the domain's MX records are not signed")
        }
        guard let name = target.name else { throw .notAssured("the host has no name") }
        return SessionPolicy(
            source: .requireTLS,
            demand: .verified(.authorities(names: [name])),
            serverName: name
        )
    }
}
