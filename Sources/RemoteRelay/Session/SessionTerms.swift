import Daemon

/// What a session is made to be. Sessions are used again on the same terms alone.
struct SessionTerms: Hashable, Sendable {
    var demand: SessionPolicy.Demand
    var language = RelayHosts.Language.smtp
    var isImplicitTLS = false
    /// What to log in with, by its name.
    var credentials: String?
    var source = RemoteRelayConfiguration.Source()

    init(_ policy: SessionPolicy, _ target: Target, _ source: RemoteRelayConfiguration.Source) {
        demand = policy.demand
        language = target.route?.language ?? .smtp
        isImplicitTLS = target.route?.isImplicitTLS ?? false
        credentials = target.route?.credentials
        self.source = source
    }
}
