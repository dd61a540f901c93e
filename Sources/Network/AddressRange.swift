import NIOCore

/// A network: an address and how many of its leading bits count.
package struct AddressRange: Hashable, Sendable {
    /// The address, in network order.
    package let octets: [UInt8]
    /// How many bits of it count.
    package let bits: Int

    /// A network as text: `192.0.2.0/24`, `2001:db8::/32`, or one address. nil for anything else, also where bits
    /// behind the prefix are set.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let host = parts.first, parts.count <= 2,
            let octets = (try? SocketAddress(ipAddress: String(host), port: 0))?.addressOctets
        else { return nil }
        var bits = octets.count * 8
        if parts.count == 2 {
            guard let given = Int(parts[1]), (0...bits).contains(given) else { return nil }
            bits = given
        }
        self.octets = octets
        self.bits = bits
        guard (bits..<(octets.count * 8)).allSatisfy({ octets[$0 / 8] & (0x80 >> UInt8($0 % 8)) == 0 }) else {
            return nil
        }
    }

    /// Whether the network holds the address (`SocketAddress.addressOctets`).
    package func contains(_ address: [UInt8]) -> Bool {
        guard address.count == octets.count else { return false }
        let whole = bits / 8
        guard address[..<whole] == octets[..<whole] else { return false }
        let rest = bits % 8
        guard rest > 0 else { return true }
        return (address[whole] ^ octets[whole]) >> UInt8(8 - rest) == 0
    }
}
