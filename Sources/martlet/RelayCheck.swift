import Daemon
import NIOCore
import Network

#if canImport(Glibc)
import Glibc
#endif

/// Whether strangers can relay through us, and whether routes lead to somebody.
struct RelayCheck {
    private let configuration: Configuration

    /// Routes that are tried at most.
    private static let maximumRoutes = 50

    init(_ configuration: Configuration) { self.configuration = configuration }

    func findings() async -> [Finding] {
        var findings = configuration.smtpd.relayFrom.compactMap(openRelay)
        let relay = configuration.remoteRelay
        findings += sources(relay)
        let tables = [relay.routes, relay.senderRoutes, relay.accountRoutes, relay.namedRoutes]
        let routes = tables.flatMap { $0.sorted { $0.key < $1.key } }
        for (name, route) in routes.prefix(Self.maximumRoutes) {
            guard case .hosts(let hosts) = route else { continue }
            for host in hosts.hosts where host.socket == nil {
                if let finding = await finding(name, host) { findings.append(finding) }
            }
        }
        return findings
    }

    /// Addresses that mail should come from and that this machine doesn't have.
    private func sources(_ relay: RemoteRelayConfiguration) -> [Finding] {
        let own = relay.sources.sorted { $0.key < $1.key }.map { ("[remote-relay.sources] \"\($0.key)\"", $0.value) }
        return ([("[remote-relay]", relay.source)] + own).flatMap { place, source in
            [source.ipv4, source.ipv6].compactMap(\.self).compactMap { address -> Finding? in
                do throws(SocketError) {
                    close(try InternetSocket.listen(address))
                    return nil
                } catch {
                    return .wrong(
                        "source",
                        "mail can't come from \(address.ipAddress ?? ""), as \(place) has it: \(error)",
                        mend: "give the address to this machine, or correct the setting; until then such mail waits"
                    )
                }
            }
        }
    }

    private func openRelay(_ range: AddressRange) -> Finding? {
        let isIPv4 = range.octets.count == 4
        let address = SocketAddress(octets: range.octets, port: 0)?.ipAddress ?? ""
        let network = "\(address)/\(range.bits)"
        if range.bits == 0 {
            return .wrong(
                "relay-from",
                "\(network) lets everybody relay through this host",
                mend: "name only your own networks in [smtpd] relay-from, or let people log in"
            )
        }
        guard range.bits < (isIPv4 ? 8 : 16) else { return nil }
        return .doubtful(
            "relay-from",
            "\(network) is a large part of the internet",
            mend: "name only your own networks in [smtpd] relay-from"
        )
    }

    private func finding(_ domain: String, _ route: RelayHost) async -> Finding? {
        let reason: String
        do {
            let address = try SocketAddress.makeAddressResolvingHost(route.host, port: route.port)
            try await ProbeConnection.run(to: address, timeout: .seconds(3)) { _ in }
            return nil
        } catch let error as ConnectionError {
            reason = error.reason
        } catch {
            reason = "it has no address"
        }
        return .wrong(
            "route",
            "\(domain) goes to \(route.host), port \(route.port): \(reason)",
            mend: "correct [remote-relay.routes], or start the server there; until then mail waits"
        )
    }
}
