import NIOCore

extension SocketAddress {
    /// An address from 4 or 16 octets in network order; nil for another number of octets.
    package init?(octets: [UInt8], port: Int) {
        let text: String
        switch octets.count {
        case 4: text = octets.map(String.init).joined(separator: ".")
        case 16:
            text = stride(from: 0, to: 16, by: 2).map {
                String(UInt16(octets[$0]) << 8 | UInt16(octets[$0 + 1]), radix: 16)
            }.joined(separator: ":")
        default: return nil
        }
        guard let address = try? SocketAddress(ipAddress: text, port: port) else { return nil }
        self = address
    }

    /// Whether it is at the same address, the port aside; for IPv6 only where all else is equal.
    package func hasHost(of other: SocketAddress) -> Bool {
        switch (self, other) {
        case (.v4(let one), .v4(let other)): Self.number(one) == Self.number(other)
        default: self == other
        }
    }

    private static func number(_ address: IPv4Address) -> UInt32 {
        // sockaddr_in: after family and port
        withUnsafeBytes(of: address.address) { $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self) }
    }
}
