/// The routes of the configuration: by name where the message has one, else by account, else by sender, else by the recipients'
/// domain.
package struct RouteTable: Sendable, Equatable {
    /// What routes can be found by.
    package enum Kind: String, Sendable, CaseIterable {
        case name
        case account
        case sender
        case destination
    }

    /// What mail it is that a route is looked for.
    package struct Question: Hashable, Sendable {
        /// The name that a policy has given the message; nothing else counts then.
        package var name: String?
        /// Who handed it in.
        package var account: String?
        /// The reverse-path without brackets; nil for the null one.
        package var sender: String?
        /// The recipients' domain.
        package var destination: String?

        package init(
            name: String? = nil,
            account: String? = nil,
            sender: String? = nil,
            destination: String? = nil
        ) {
            self.name = name
            self.account = account
            self.sender = sender
            self.destination = destination
        }
    }

    private let names: [String: RelayRoute]
    private let accounts: [String: RelayRoute]
    private let senders: [String: RelayRoute]
    private let senderDomains: DomainTable<RelayRoute>
    private let domains: DomainTable<RelayRoute>
    /// Where there are any at all.
    package let kinds: Set<Kind>

    package init(_ relay: RemoteRelayConfiguration) {
        names = relay.namedRoutes
        accounts = relay.accountRoutes
        senders = relay.senderRoutes.filter { $0.key.contains("@") }
        senderDomains = DomainTable(relay.senderRoutes.filter { !$0.key.contains("@") })
        domains = DomainTable(relay.routes)
        let tables = [
            Kind.name: relay.namedRoutes, .account: relay.accountRoutes, .sender: relay.senderRoutes,
            .destination: relay.routes,
        ]
        kinds = Set(tables.lazy.filter { !$0.value.isEmpty }.map(\.key))
    }

    /// - Returns: nil where mail goes to the hosts of its domain, and where there is no route of the name.
    package func route(for question: Question) -> RelayRoute? {
        if let name = question.name { return names[name.lowercased()] }
        if let account = question.account, let route = accounts[account.lowercased()] ?? accounts["*"] { return route }
        if let sender = question.sender, let at = sender.lastIndex(of: "@") {
            let domain = String(sender[sender.index(after: at)...])
            if let route = senders[sender.lowercased()] ?? senderDomains[domain] { return route }
        }
        return question.destination.flatMap { domains[$0] }
    }
}
