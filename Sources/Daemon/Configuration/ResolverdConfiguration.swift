import NIOCore

/// `[resolverd]`
package struct ResolverdConfiguration: Sendable {
    /// Where DNS is answered, by UDP and TCP.
    package var listen: [SocketAddress]
    package var forwarders: [SocketAddress]
    /// Local zones: name to master file.
    package var zones: [String: String]

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        listen = try table.addresses("listen")
        forwarders = try table.addresses("forwarders", port: 53)
        let zones = try table.table("zones")
        self.zones = [:]
        for name in zones.keys { self.zones[name.lowercased()] = try zones.string(name) }
    }
}
