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

    init(_ configuration: Configuration) {
        let relay = configuration.remoteRelay
        hostname = configuration.hostname
        ownName = try? DomainName(configuration.hostname)
        ownAddresses = configuration.smtpd.smtp
        port = relay.port
        routes = RouteTable(relay.routes.mapValues { RouteTable.Route(host: $0.host, port: $0.port) })
        tls = relay.tls
        times = relay.timeouts
        sourceV4 = relay.sourceV4
        sourceV6 = relay.sourceV6
        reuseTime = relay.reuseTime
        reuseCount = relay.reuseCount
    }

    /// Whether a connection there would reach our own smtpd.
    func isOwn(_ address: SocketAddress) -> Bool { ownAddresses.contains(address) }

    func source(for address: SocketAddress) -> SocketAddress? {
        address.protocol == .inet6 ? sourceV6 : sourceV4
    }
}
