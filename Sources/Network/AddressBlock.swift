import NIOCore

/// A block of addresses: `192.0.2.0/24`, `2001:db8::/32` or a single address.
package struct AddressBlock: Hashable, Sendable {
    private let octets: [UInt8]
    private let prefix: Int

    /// Reads an address with an optional prefix length; nil where it is something else, or where bits are set beyond
    /// the prefix.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let first = parts.first,
            let address = try? SocketAddress(ipAddress: String(first), port: 0),
            let octets = address.addressOctets
        else { return nil }
        prefix = parts.count == 2 ? Int(parts[1]) ?? -1 : octets.count * 8
        guard (0...octets.count * 8).contains(prefix) else { return nil }
        self.octets = octets
        for bit in prefix..<(octets.count * 8) where octets[bit / 8] & (0x80 >> UInt8(bit % 8)) != 0 { return nil }
    }

    /// Whether the address, in network order, is inside.
    package func contains(_ address: [UInt8]) -> Bool {
        guard address.count == octets.count else { return false }
        let whole = prefix / 8
        guard address.prefix(whole).elementsEqual(octets.prefix(whole)) else { return false }
        guard prefix % 8 != 0 else { return true }
        return (address[whole] ^ octets[whole]) >> UInt8(8 - prefix % 8) == 0
    }
}
