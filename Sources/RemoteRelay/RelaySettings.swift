import DNS
import Daemon
import NIOCore

/// When TLS is used towards other hosts.
package typealias RelayTLSPolicy = RemoteRelayConfiguration.TLSPolicy

/// The configuration as the relay uses it.
struct RelaySettings: Sendable {
    let hostname: String
    let ownName: DomainName?
    /// Where this host takes mail from others itself.
    let ownAddresses: [SocketAddress]
    let port: Int
    let routes: RouteTable
    let tls: RelayTLSPolicy
    let times: RemoteRelayConfiguration.Timeouts
    let sourceV4: SocketAddress?
    let sourceV6: SocketAddress?
    let reuseTime: TimeAmount
    let reuseCount: Int

    /// - Parameter interfaces: this machine's addresses, for a smtpd that listens on all of them.
    init(_ configuration: Configuration, interfaces: [SocketAddress]) {
        let relay = configuration.remoteRelay
        hostname = configuration.hostname
        ownName = try? DomainName(configuration.hostname)
        ownAddresses = configuration.smtpd.smtp.flatMap { Self.addresses(meantBy: $0, interfaces) }
        port = relay.port
        routes = RouteTable(relay.routes.mapValues { RouteTable.Route(host: $0.host, port: $0.port) })
        tls = relay.tls
        times = relay.timeouts
        sourceV4 = relay.sourceV4
        sourceV6 = relay.sourceV6
        reuseTime = relay.reuseTime
        reuseCount = relay.reuseCount
    }

    /// A wildcard stands for itself (a connection there stays on this machine, too) and all addresses of its family.
    private static func addresses(meantBy address: SocketAddress, _ interfaces: [SocketAddress]) -> [SocketAddress] {
        guard ["0.0.0.0", "::"].contains(address.ipAddress) else { return [address] }
        return [address]
            + interfaces.compactMap { own in
                guard own.protocol == address.protocol, let text = own.ipAddress else { return nil }
                return try? SocketAddress(ipAddress: text, port: address.port ?? 0)
            }
    }

    /// The addresses that this machine has now.
    static func interfaces() -> [SocketAddress] {
        ((try? System.enumerateDevices()) ?? []).compactMap(\.address)
    }

    /// Whether a connection there would reach our own smtpd.
    func isOwn(_ address: SocketAddress) -> Bool { ownAddresses.contains(address) }

    func source(for address: SocketAddress) -> SocketAddress? {
        address.protocol == .inet6 ? sourceV6 : sourceV4
    }
}
