import Daemon
import Deliverer
import SMTP

/// The routes of the configuration: by account, else by sender, else by the recipients' domain.
struct RouteTable: Sendable {
    private let accounts: [String: RelayRoute]
    private let senders: [String: RelayRoute]
    private let senderDomains: DomainTable<RelayRoute>
    private let domains: DomainTable<RelayRoute>

    init(_ relay: RemoteRelayConfiguration) {
        accounts = relay.accountRoutes
        senders = relay.senderRoutes.filter { $0.key.contains("@") }
        senderDomains = DomainTable(relay.senderRoutes.filter { !$0.key.contains("@") })
        domains = DomainTable(relay.routes)
    }

    /// The route of mail for a domain, whoever sends it.
    func route(for domain: String) -> RelayRoute? { domains[domain] }

    func route(for request: DeliverRequest) -> RelayRoute? {
        if let account = request.account, let route = accounts[account.lowercased()] ?? accounts["*"] { return route }
        if let sender = request.sender.path.address {
            if let route = senders["\(sender)".lowercased()] ?? senderDomains[sender.domain] { return route }
        }
        return request.destination.flatMap { domains[$0] }
    }
}
