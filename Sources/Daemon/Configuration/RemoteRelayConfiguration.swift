import NIOCore

/// `[remote-relay]`
package struct RemoteRelayConfiguration: Sendable {
    /// The port of other hosts.
    package var port: Int
    /// Static routes: domain to host and port.
    package var routes: [String: String]

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        port = try table.integer("port", default: 25, in: 1...65535)
        let routes = try table.table("routes")
        self.routes = [:]
        for domain in routes.keys { self.routes[domain.lowercased()] = try routes.string(domain) }
    }
}
