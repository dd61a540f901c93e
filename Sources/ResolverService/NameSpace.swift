import DNS
import Daemon
import NIOCore

/// Who has the answer for which part of the tree of names. Immutable: a reload makes another one.
struct NameSpace: Sendable {
    /// Where an answer comes from.
    enum Route {
        case local(Zone)
        /// One of these servers is to be asked.
        case forward([ForwarderAddress])
        /// The servers of its zone are to be asked, from the root or a stub zone down.
        case recursion
        /// A zone of ours whose file was never without an error.
        case broken
        /// Nobody was named.
        case nowhere

        /// Who is asked about the name; nil where nobody is.
        var source: Shard.Source? {
            switch self {
            case .forward(let servers): .forwarders(servers)
            case .recursion: .zones
            case .local, .broken, .nowhere: nil
            }
        }
    }

    private var zones: [DomainName: Zone] = [:]
    private var forwards: [DomainName: [ForwarderAddress]]
    private let forwarders: [ForwarderAddress]
    private let stubs: Set<DomainName>
    private let recurses: Bool
    private let broken: Set<DomainName>

    /// - Parameters:
    ///   - zones: the configured local zones.
    ///   - broken: the tops of configured zones that could not be loaded.
    ///   - forwardZones: servers for parts of the tree.
    ///   - forwarders: servers for all the rest.
    ///   - stubs: zones whose servers are known.
    ///   - recurses: whether servers of zones are asked where there are no forwarders.
    init(
        zones: [Zone],
        broken: Set<DomainName> = [],
        forwardZones: [DomainName: [ForwarderAddress]],
        forwarders: [ForwarderAddress],
        stubs: Set<DomainName> = [],
        recurses: Bool = false
    ) {
        self.stubs = stubs
        self.recurses = recurses
        self.forwarders = forwarders
        forwards = forwardZones
        self.broken = broken
        // What the administrator said takes the place of what is built in.
        for zone in Self.special where forwardZones[zone.origin] == nil && !stubs.contains(zone.origin) {
            self.zones[zone.origin] = zone
        }
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
            if stubs.contains(name) { return .recursion }
            next = name.parent
        }
        if !forwarders.isEmpty { return .forward(forwarders) }
        return recurses ? .recursion : .nowhere
    }
}

extension NameSpace {
    /// Whether private addresses are welcome below a name: because the administrator said so, or named its servers.
    func isPrivate(_ name: DomainName, _ settings: ResolverSettings) -> Bool {
        var next: DomainName? = name
        while let name = next {
            if settings.privateZones.contains(name) || stubs.contains(name) || forwards[name] != nil { return true }
            next = name.parent
        }
        return false
    }

    /// - Parameter zones: the local zones as they were loaded.
    init(zones: [Zone], broken: Set<DomainName>, _ settings: ResolverSettings) {
        self.init(
            zones: (settings.dns64 == nil ? [] : SpecialZones.ipv4Only) + zones,
            broken: broken,
            forwardZones: settings.forwardZones,
            forwarders: settings.forwarders,
            stubs: Set(settings.stubZones.keys),
            recurses: settings.rootHints != nil
        )
    }
}
