import NIOCore

extension SocketAddress {
    /// What counts as one client for limits: the IPv4 address, or the first 64 bits of the IPv6 address, which one
    /// customer has. An IPv4 address mapped into IPv6 counts as the IPv4 address. nil for Unix-domain sockets.
    package var clientKey: [UInt8]? {
        switch addressOctets {
        case .some(let octets) where octets.count == 16: return Array(octets.prefix(8))
        case let octets: return octets
        }
    }

    /// The address in network order: 4 octets for IPv4 (also when mapped into IPv6), 16 for IPv6; nil for others.
    package var addressOctets: [UInt8]? {
        switch self {
        case .v4(let address):
            return withUnsafeBytes(of: address.address) { Array($0[4..<8]) }  // sockaddr_in: after family and port
        case .v6(let address):
            // sockaddr_in6: after family, port and flow label
            let octets = withUnsafeBytes(of: address.address) { Array($0[8..<24]) }
            let isMapped = octets.prefix(10).allSatisfy { $0 == 0 } && octets[10] == 0xff && octets[11] == 0xff
            return isMapped ? Array(octets.suffix(4)) : octets
        case .unixDomainSocket: return nil
        }
    }

    /// The address alone, as logs and other daemons get it: an IPv4 address mapped into IPv6 as the IPv4 address. nil
    /// for Unix-domain sockets.
    package var hostText: String? {
        if let octets = addressOctets, octets.count == 4 { return octets.map { String($0) }.joined(separator: ".") }
        return ipAddress
    }

    /// The same address with an IPv4 address mapped into IPv6 (RFC 4291 §2.5.5.2) as the IPv4 address that it stands for:
    /// that's where a connection goes.
    package var unmapped: SocketAddress {
        guard self.protocol == .inet6, let octets = addressOctets, octets.count == 4, let port else { return self }
        return SocketAddress(octets: octets, port: port) ?? self
    }

    /// Whether it is of no host: 0.0.0.0 or ::. A connection there stays on this machine.
    package var isUnspecified: Bool { addressOctets?.allSatisfy { $0 == 0 } ?? false }

    /// Whether it is an address of this machine alone (127.0.0.0/8, ::1).
    package var isLoopback: Bool {
        guard let octets = addressOctets else { return false }
        return octets.count == 4 ? octets[0] == 127 : octets.dropLast().allSatisfy { $0 == 0 } && octets.last == 1
    }
}
