import DNS
import DNSSEC
import Daemon
import LocalZones
import NIOCore
import Recursion

/// Who has the answer for which part of the tree of names. Immutable: a reload makes another one.
struct NameSpace: Sendable {
    /// Where an answer comes from.
    enum Route: Sendable {
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
        var source: AnswerSource? {
            switch self {
            case .forward(let servers): .forwarders(servers)
            case .recursion: .zones
            case .local, .broken, .nowhere: nil
            }
        }
    }

    /// Where the answers about names come from, by the tops of the parts of the tree.
    private var routes: [DomainName: Route] = [:]
    private let forwards: [DomainName: [ForwarderAddress]]
    private let forwarders: [ForwarderAddress]
    private let stubs: Set<DomainName>
    private let recurses: Bool
    private let signings: [DomainName: ZoneSigning]

    /// - Parameters:
    ///   - zones: the configured local zones.
    ///   - broken: the tops of configured zones that could not be loaded.
    ///   - signings: how those of the local zones are signed that are.
    ///   - forwardZones: servers for parts of the tree.
    ///   - forwarders: servers for all the rest.
    ///   - stubs: zones whose servers are known.
    ///   - recurses: whether servers of zones are asked where there are no forwarders.
    init(
        zones: [Zone],
        broken: Set<DomainName> = [],
        signings: [DomainName: ZoneSigning] = [:],
        forwardZones: [DomainName: [ForwarderAddress]],
        forwarders: [ForwarderAddress],
        stubs: Set<DomainName> = [],
        recurses: Bool = false
    ) {
        self.stubs = stubs
        self.recurses = recurses
        self.forwarders = forwarders
        forwards = forwardZones
        self.signings = signings
        // What the administrator said takes the place of what is built in; of that, the later the more it counts.
        for zone in Self.special { routes[zone.origin] = .local(zone) }
        for top in stubs { routes[top] = .recursion }
        for (top, servers) in forwardZones { routes[top] = servers.isEmpty ? .nowhere : .forward(servers) }
        for zone in zones { routes[zone.origin] = .local(zone) }
        for top in broken { routes[top] = .broken }
    }

    private static let special = SpecialZones.make()

    /// The longest match counts; a local zone before a forward of the same name.
    func route(_ name: DomainName) -> Route {
        var next: DomainName? = name
        while let name = next {
            if let route = routes[name] { return route }
            next = name.parent
        }
        if !forwarders.isEmpty { return .forward(forwarders) }
        return recurses ? .recursion : .nowhere
    }

    /// The top of the part of the tree that a name is in: of a zone of ours, a stub or a forward zone, or the root. What
    /// servers above it say of names below it isn't for us.
    func top(over name: DomainName) -> DomainName {
        var next = name
        while routes[next] == nil, let parent = next.parent { next = parent }
        return next
    }

    /// Who has the answer to a question. DS records are in the zone above (RFC 4035 §3.1.4.1); where that isn't to be
    /// had, or doesn't know of the zone, the zone itself says that it has none. Of what is built in only
    /// home.arpa and service.arpa are asked for in the world: validators need to see that they aren't signed (RFC 8375 §4).
    ///
    /// - Parameter asksOthers: whether other servers may be asked.
    func route(_ name: DomainName, _ type: RecordType, asksOthers: Bool) -> Route {
        let route = route(name)
        guard type == .ds, case .local(let zone) = route, zone.origin == name, let parent = name.parent else {
            return route
        }
        let isBuiltIn = Self.special.contains { $0 === zone }
        guard !isBuiltIn || SpecialZones.delegated.contains(name) else { return route }
        let above = self.route(parent)
        switch above {
        case .local(let zone):
            if case .node = zone.locate(name, .ds) { return above }
            return route
        case .forward, .recursion: return asksOthers ? above : route
        case .broken, .nowhere: return route
        }
    }

    /// A local zone as it is signed; nil where it isn't.
    func signed(_ zone: Zone) -> SignedZone? {
        signings[zone.origin].map { SignedZone(zone, $0) }
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

    init(_ served: ZoneAuthority.Served, _ settings: ResolverSettings) {
        self.init(
            zones: (settings.dns64 == nil ? [] : SpecialZones.ipv4Only) + served.zones,
            broken: served.broken,
            signings: served.signings,
            forwardZones: settings.forwardZones,
            forwarders: settings.forwarders,
            stubs: Set(settings.recursion.stubZones.keys),
            recurses: settings.recursion.rootHints != nil
        )
    }
}

/// The name space as recursion takes its own questions through it, on one event loop.
struct LoopRoutes: Routing {
    let names: NameSpace
    /// The loop's.
    let signer: ZoneSigner

    func source(of name: DomainName) -> AnswerSource? { names.route(name).source }

    func ownZone(of name: DomainName) -> (any OwnZone)? {
        guard case .local(let zone) = names.route(name) else { return nil }
        return ServedZone(zone: zone, signed: names.signed(zone), signer: signer)
    }

    func top(over name: DomainName) -> DomainName { names.top(over: name) }
}

private struct ServedZone: OwnZone {
    let zone: Zone
    let signed: SignedZone?
    let signer: ZoneSigner

    func answer(_ question: Question) -> Outcome {
        let answer = zone.answer(question)
        return Outcome(code: answer.code, answers: answer.answers)
    }

    func proof(_ question: Question) -> SecurityReply? {
        let client = ZoneSigner.Client(dnssecOK: true, compactOK: false, isDatagram: false)
        let made =
            signed.map { try? signer.answer(question, in: $0, for: client) } ?? PresignedZone(zone)?.answer(question)
        return made.map {
            SecurityReply(code: $0.code, answers: $0.answers, authorities: $0.authorities + $0.proofs)
        }
    }
}
