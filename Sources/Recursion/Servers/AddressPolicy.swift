import NIOCore
import Network

/// Which addresses servers of the world's zones may have, and their answers may hold.
package struct AddressPolicy: Sendable {
    /// Whether servers on this very machine may be asked.
    var asksLoopback = false
    var usesIPv4 = true
    var usesIPv6 = true

    package init(asksLoopback: Bool = false, usesIPv4: Bool = true, usesIPv6: Bool = true) {
        self.asksLoopback = asksLoopback
        self.usesIPv4 = usesIPv4
        self.usesIPv6 = usesIPv6
    }

    /// Whether a server that a zone names may be asked.
    func mayAsk(_ address: SocketAddress) -> Bool {
        guard let octets = address.addressOctets else { return false }
        guard octets.count == 4 ? usesIPv4 : usesIPv6 else { return false }
        if Self.isUseless(octets) { return false }
        return asksLoopback || !Self.loopback.contains { $0.contains(octets) }
    }

    /// Addresses at which there can be no server: unspecified, multicast, broadcast.
    private static func isUseless(_ octets: [UInt8]) -> Bool { useless.contains { $0.contains(octets) } }

    /// Whether an address is one of a private network, or of this machine: no public name leads there, except in order
    /// to let a browser reach what only it can reach (DNS rebinding).
    package static func isPrivate(_ octets: [UInt8]) -> Bool {
        let inner = embedded.contains { octets.starts(with: $0) } ? Array(octets.suffix(4)) : octets
        return privateNetworks.contains { $0.contains(inner) }
    }

    /// How IPv6 addresses begin that stand for the IPv4 address at their end (RFC 4291 §2.5.5.2, RFC 6052 §2.1).
    private static let embedded: [[UInt8]] = [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
        [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0],
    ]

    private static let loopback = networks("127.0.0.0/8", "::1", "::ffff:127.0.0.0/104")
    private static let useless = networks("0.0.0.0/8", "224.0.0.0/3", "::", "ff00::/8")
    private static let privateNetworks =
        networks("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
        + networks("100.64.0.0/10", "::", "::1", "fc00::/7", "fe80::/10")

    private static func networks(_ texts: String...) -> [AddressRange] { texts.compactMap(AddressRange.init) }
}
