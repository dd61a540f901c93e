import Daemon

/// What a session is made to be. Sessions are used again on the same terms alone.
struct SessionTerms: Hashable, Sendable {
    var demand: SessionPolicy.Demand
    var language = RelayHosts.Language.smtp
    var isImplicitTLS = false
    /// What to log in with, by its name.
    var credentials: String?
    var source = RemoteRelayConfiguration.Source()
    /// The pair of `[tls.pairs.NAME]` that the host is shown where it asks for a certificate.
    var clientCertificate: String?

    init(
        _ policy: SessionPolicy,
        _ target: Target,
        _ source: RemoteRelayConfiguration.Source,
        clientCertificate: String? = nil
    ) {
        self.clientCertificate = clientCertificate
        demand = policy.demand
        language = target.route?.language ?? .smtp
        isImplicitTLS = target.route?.isImplicitTLS ?? false
        credentials = target.route?.credentials
        self.source = source
    }
}
