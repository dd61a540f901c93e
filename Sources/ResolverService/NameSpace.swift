import DNS
import NIOCore

/// Who has the answer for which part of the tree of names. Immutable: a reload makes another one.
struct NameSpace: Sendable {
    /// Where an answer comes from.
    enum Route {
        case local(Zone)
        /// One of these servers is to be asked.
        case forward([SocketAddress])
        /// A zone of ours whose file was never without an error.
        case broken
        /// Nobody was named.
        case nowhere
    }

    private var zones: [DomainName: Zone] = [:]
    private var forwards: [DomainName: [SocketAddress]]
    private let forwarders: [SocketAddress]
    private let broken: Set<DomainName>

    /// - Parameters:
    ///   - zones: the configured local zones.
    ///   - broken: the tops of configured zones that could not be loaded.
    ///   - forwardZones: servers for parts of the tree.
    ///   - forwarders: servers for all the rest.
    init(
        zones: [Zone],
        broken: Set<DomainName> = [],
        forwardZones: [DomainName: [SocketAddress]],
        forwarders: [SocketAddress]
    ) {
        self.forwarders = forwarders
        forwards = forwardZones
        self.broken = broken
        // What the administrator said takes the place of what is built in.
        for zone in Self.special where forwardZones[zone.origin] == nil { self.zones[zone.origin] = zone }
        for zone in zones { self.zones[zone.origin] = zone }
    }

    private static let special = SpecialZones.make()

    /// The longest match counts; a local zone before a forward of the same name.
    func route(_ name: DomainName) -> Route {
        var next: DomainName? = name
        while let name = next {
            if broken.contains(name) { return .broken }
            if let zone = zones[name] { return .local(zone) }
            if let servers = forwards[name] { return servers.isEmpty ? .nowhere : .forward(servers) }
            next = name.parent
        }
        return forwarders.isEmpty ? .nowhere : .forward(forwarders)
    }
}
