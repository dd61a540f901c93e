import Daemon
import NIOCore
import Network

/// What a client may have, by where it is. Answers that are kept ready are kept apart by these.
struct ClientRights: OptionSet, Hashable, Sendable {
    let rawValue: UInt8

    /// Answers to questions about other than local zones.
    static let recursion = ClientRights(rawValue: 0x04)
    /// Answers from local zones that have no list of their own.
    static let localZones = ClientRights(rawValue: 0x40)
    /// Addresses made up from IPv4 ones (RFC 6147).
    static let dns64 = ClientRights(rawValue: 0x80)
}

/// What is known of a client by its address alone.
struct ClientStanding: Sendable {
    /// 4 or 16 octets in network order; empty for a program on this machine that came by a Unix-domain socket.
    let octets: [UInt8]
    let rights: ClientRights
    /// Who shares limits with it.
    let network: ClientNetwork
    /// Whether its answers by UDP count against limits.
    let isLimited: Bool

    init(_ settings: ResolverSettings, _ address: SocketAddress?) {
        guard let octets = address?.addressOctets else {
            self.octets = []
            rights = settings.dns64 == nil ? [.recursion, .localZones] : [.recursion, .localZones, .dns64]
            network = ClientNetwork([])
            isLimited = false
            return
        }
        var rights: ClientRights = []
        if settings.mayRecurse(octets) { rights.insert(.recursion) }
        if settings.allowQuery?.allows(octets, signer: nil) ?? true { rights.insert(.localZones) }
        if let dns64 = settings.dns64, dns64.serves(octets) { rights.insert(.dns64) }
        self.octets = octets
        self.rights = rights
        network = ClientNetwork(octets)
        isLimited = settings.rateLimits.limits(octets)
    }
}

/// The network that counts as one client for limits: what one customer has, or who can take each other's addresses.
struct ClientNetwork: Hashable, Sendable {
    let key: UInt64

    /// How many octets of an address count: /24 and /56.
    private static let octets4 = 3
    private static let octets6 = 7

    /// - Parameter address: 4 or 16 octets in network order; empty for this machine's own programs.
    init(_ address: [UInt8]) {
        var key: UInt64 = address.count == 4 ? 4 : address.isEmpty ? 0 : 6
        for octet in address.prefix(address.count == 4 ? Self.octets4 : Self.octets6) { key = key << 8 | UInt64(octet) }
        self.key = key
    }
}
