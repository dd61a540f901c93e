import DNS

/// Who asks to send mail, and as whom: what a check needs to know (RFC 7208 §4.1).
package struct SPFQuery: Sendable, Hashable {
    /// Which of the client's claims is checked (RFC 7208 §2.3, §2.4).
    package enum Identity: String, Sendable {
        case mailFrom = "mailfrom"
        case helo
    }

    package let identity: Identity
    /// The client's address, of 4 or 16 octets; IPv4 mapped into IPv6 is IPv4 here (RFC 7208 §5).
    package let address: [UInt8]
    /// `postmaster` where the sender has none (RFC 7208 §4.3).
    package let localPart: [UInt8]
    /// Its labels in ASCII (RFC 8616 §4).
    package let domain: [UInt8]
    package let helo: [UInt8]
    /// The name of the host that checks, for explanations.
    package var receiver: [UInt8]
    /// The time of the check, for explanations.
    package var secondsSince1970: Int

    /// Checks the sender of the envelope; where that is empty, `postmaster` at the name the client gave (RFC 7208 §2.4).
    ///
    /// - Parameter sender: an address without angle brackets, or a domain alone.
    package init(
        address: [UInt8],
        mailFrom sender: [UInt8],
        helo: [UInt8],
        receiver: [UInt8] = Array("unknown".utf8),
        secondsSince1970: Int = 0
    ) {
        identity = .mailFrom
        self.address = Self.unmapped(address)
        self.helo = helo
        self.receiver = receiver
        self.secondsSince1970 = secondsSince1970
        let at = sender.lastIndex(of: UInt8(ascii: "@"))
        let local = sender[..<(at ?? 0)]
        localPart = local.isEmpty ? Array("postmaster".utf8) : Array(local)
        let written = sender.isEmpty ? helo : Array(sender[(at.map { $0 + 1 } ?? 0)...])
        domain = SPFLookups.ascii(written) ?? written
    }

    /// Checks the name that the client gave (RFC 7208 §2.3).
    package init(
        address: [UInt8],
        helo: [UInt8],
        receiver: [UInt8] = Array("unknown".utf8),
        secondsSince1970: Int = 0
    ) {
        identity = .helo
        self.address = Self.unmapped(address)
        self.helo = helo
        self.receiver = receiver
        self.secondsSince1970 = secondsSince1970
        localPart = Array("postmaster".utf8)
        domain = SPFLookups.ascii(helo) ?? helo
    }

    private static func unmapped(_ address: [UInt8]) -> [UInt8] {
        let prefix = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]
        return address.count == 16 && address.starts(with: prefix) ? Array(address[12...]) : address
    }

    package var sender: [UInt8] { localPart + [UInt8(ascii: "@")] + domain }

    var isIPv6: Bool { address.count == 16 }

    /// Where the names of the client's address are looked up (RFC 1035 §3.5, RFC 3596 §2.5).
    var reverseName: DomainName? {
        let labels: [[UInt8]] =
            isIPv6
            ? address.reversed().flatMap { [[Self.nibble($0 & 15)], [Self.nibble($0 >> 4)]] } + [Array("ip6".utf8)]
            : address.reversed().map { Array(String($0).utf8) } + [Array("in-addr".utf8)]
        return try? DomainName(labels: labels + [Array("arpa".utf8)])
    }

    static func nibble(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x61 + value - 10 }

    /// Whether the client's address begins with as many bits of the other as the prefix says.
    func isIn(_ network: some RandomAccessCollection<UInt8>, prefix: Int) -> Bool {
        guard network.count == address.count else { return false }
        var left = prefix
        for (one, other) in zip(address, network) where left > 0 {
            let mask: UInt8 = left >= 8 ? 0xFF : ~(0xFF >> UInt8(left))
            if (one ^ other) & mask != 0 { return false }
            left -= 8
        }
        return true
    }
}
