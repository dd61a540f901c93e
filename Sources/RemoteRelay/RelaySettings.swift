import DNS
import Daemon
import NIOCore
import Network

/// When TLS is used towards other hosts.
package typealias RelayTLSPolicy = RemoteRelayConfiguration.TLSPolicy

/// The configuration as the relay uses it.
struct RelaySettings: Sendable {
    let hostname: String
    let ownName: DomainName?
    /// Where this host takes mail from others itself.
    private let ownAddresses: [SocketAddress]
    /// This machine's addresses.
    private let interfaces: [SocketAddress]
    let port: Int
    let routes: RouteTable
    let tls: RelayTLSPolicy
    let times: RemoteRelayConfiguration.Timeouts
    let sourceV4: SocketAddress?
    let sourceV6: SocketAddress?
    let reuseTime: TimeAmount
    let reuseCount: Int
    let hostConcurrency: Int
    let signs: Bool
    let seals: Bool
    /// Our name in Authentication-Results.
    let authservID: String

    /// - Parameter interfaces: this machine's addresses, for a smtpd that listens on all of them.
    init(_ configuration: Configuration, interfaces: [SocketAddress]) {
        let relay = configuration.remoteRelay
        hostname = configuration.hostname
        ownName = try? DomainName(configuration.hostname)
        ownAddresses = configuration.smtpd.smtp.map(\.unmapped)
        self.interfaces = interfaces.map(\.unmapped)
        port = relay.port
        routes = RouteTable(relay.routes.mapValues { RouteTable.Route(host: $0.host, port: $0.port) })
        tls = relay.tls
        times = relay.timeouts
        sourceV4 = relay.sourceV4
        sourceV6 = relay.sourceV6
        reuseTime = relay.reuseTime
        reuseCount = relay.reuseCount
        hostConcurrency = relay.hostConcurrency
        signs = relay.signs
        seals = relay.seals
        authservID = configuration.smtpd.authentication.authservID ?? hostname
    }

    /// The addresses that this machine has now.
    static func interfaces() -> [SocketAddress] {
        ((try? System.enumerateDevices()) ?? []).compactMap(\.address)
    }

    /// Whether a connection there would reach our own smtpd.
    func isOwn(_ address: SocketAddress) -> Bool {
        let address = address.unmapped
        let isHere = address.isUnspecified || address.isLoopback
        return ownAddresses.contains { own in
            guard own.port == address.port, own.protocol == address.protocol else { return false }
            if own == address || address.isUnspecified && own.isLoopback { return true }
            // A wildcard listens on all addresses of its family.
            return own.isUnspecified
                && (isHere || interfaces.contains { $0.addressOctets == address.addressOctets })
        }
    }

    /// Whether a route's host is this one by name.
    func isOwn(_ name: DomainName, port: Int) -> Bool {
        name == ownName && ownAddresses.contains { $0.port == port }
    }

    func source(for address: SocketAddress) -> SocketAddress? {
        address.protocol == .inet6 ? sourceV6 : sourceV4
    }
}
