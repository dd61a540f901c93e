import CoreMetrics
import DNS
import NIOCore

/// Asks the servers of zones, from the root down. On one event loop.
///
/// Each server is believed about names below the zone for which it was asked, and the delegation of a zone only from the
/// zone above. On the way down no server learns more of the name than it must (QNAME minimisation, RFC 9156).
final class Recursor {
    private let settings: ResolverSettings
    private let servers: ServerTable
    private var delegations: DelegationCache
    /// Names at which no zone begins, and until when that is believed; should one begin meanwhile, its parent still says so.
    private var insideNames: BoundedCache<DomainName, Int64>
    /// Finds a server's address by its name; the answer goes through the cache.
    private let lookUp: (Outcome.Key, RecursionWork) async -> Outcome
    /// Whether the query for the root's servers is under way.
    private var isPriming = false
    /// How many questions about a zone are under way.
    private var outstanding: [DomainName: Int] = [:]
    /// How many may be: a flood of random names below one zone leaves places for all others.
    private var maximumOutstanding: Int { max(16, settings.maximumPending / 4) }

    /// How many steps from zone to zone, or label to label, a question may take.
    private static let maximumSteps = 64
    /// For how long a server isn't asked about a zone that it doesn't serve, and after a failure of its own. Seconds.
    private static let lameTime: Int64 = 900
    private static let failureTime: Int64 = 30
    /// For how long a name is known to begin no zone. Seconds.
    private static let insideTime: Int64 = 600

    init(
        _ settings: ResolverSettings,
        on loop: any EventLoop,
        cacheLimit: Int,
        lookUp: @escaping (Outcome.Key, RecursionWork) async -> Outcome
    ) {
        self.settings = settings
        self.lookUp = lookUp
        servers = ServerTable(on: loop, minimumPatience: settings.minimumPatience)
        delegations = DelegationCache(limit: cacheLimit, fixed: settings.stubs)
        insideNames = BoundedCache(limit: cacheLimit / 16)
    }

    /// What the servers of the name's zone say; where their answer ends with an alias that leads out of the zone,
    /// `Outcome.next` is where to.
    func ask(_ key: Outcome.Key, _ work: RecursionWork) async -> Outcome {
        var walk = Walk(key)
        while walk.step < Self.maximumSteps {
            walk.step += 1
            guard let zone = await start(walk, work) else { return walk.failure }
            walk.pass(below: zone.zone) { isInside($0) }
            let question = walk.question(below: zone.zone)
            switch await exchange(question, zone, work) {
            case .referral(let delegation):
                delegations.keep(delegation)
                walk.zone = delegation
                walk.isFresh = true
            case .answer(let outcome, _):
                if question == key { return outcome }
                walk.learn(question, outcome)
                if outcome.code == .noError { remember(question.name) }
            case .crowded(let reason):
                walk.reason = reason
                return walk.failure
            case .failure(let reason):
                walk.reason = reason
                if question != key {
                    // Servers that don't know names in between answer the whole name perhaps.
                    walk.minimises = false
                } else if walk.isFresh || !delegations.forget(zone.zone) {
                    return walk.failure
                } else {
                    // The parent may have named others meanwhile.
                    walk.zone = nil
                    walk.isFresh = true
                }
            }
        }
        return walk.failure
    }

    private func isInside(_ name: DomainName) -> Bool {
        insideNames.value(for: name).map { settings.now() < $0 } ?? false
    }

    private func remember(_ name: DomainName) {
        insideNames.insert(
            settings.now() + Self.insideTime,
            for: name.compacted,
            cost: memoryCost(ofOctets: name.wireCount)
        )
    }

    /// The servers to ask next.
    private func start(_ walk: Walk, _ work: RecursionWork) async -> Delegation? {
        if let zone = walk.zone { return zone }
        if let known = delegations.closest(to: walk.lowest, now: settings.now()) { return known }
        return await prime(work)
    }

    /// The current servers of the root (RFC 8109), or those of the hints where nobody says.
    private func prime(_ work: RecursionWork) async -> Delegation? {
        guard let hints = settings.rootHints else { return nil }
        let hinted = Delegation(zone: .root, hosts: hints.servers.keys, addresses: hints.servers)
        guard !isPriming else { return hinted }
        isPriming = true
        defer { isPriming = false }
        let key = Outcome.Key(name: .root, type: .ns, dnssecOK: settings.validates, checkingDisabled: false)
        guard case .answer(_, let message) = await exchange(key, hinted, work) else { return hinted }
        let found = message.answers.filter { $0.type == .ns && $0.name.isRoot && $0.class == .internet }
        guard !found.isEmpty else { return hinted }
        let hosts = Set(found.compactMap(\.target))
        var addresses: [DomainName: [SocketAddress]] = [:]
        for record in message.additionals where hosts.contains(record.name) {
            guard let address = record.socketAddress(port: settings.serverPort) else { continue }
            addresses[record.name, default: []].append(address)
        }
        for host in hosts where addresses[host] == nil { addresses[host] = hints.servers[host] }
        let lifetime = min(found.shortestLife() ?? 0, settings.timeLimits.positive)
        let root = Delegation(
            zone: .root,
            hosts: hosts,
            addresses: addresses,
            expires: settings.now() + Int64(max(lifetime, 60))
        )
        delegations.keep(root)
        return root
    }

    // MARK: One zone

    private enum Exchange {
        case referral(Delegation)
        /// What is believed, and the whole that was said.
        case answer(Outcome, DNSMessage)
        case failure(String)
        /// Not asked at all; asking the parent, or otherwise, would be no better.
        case crowded(String)
    }

    /// What of an answer is believed; nil when it has no sense.
    private func scrub(_ message: DNSMessage, _ key: Outcome.Key, _ zone: DomainName) -> Outcome? {
        let scrubber = Scrubber(
            question: Question(name: key.name, type: key.type),
            bailiwick: zone,
            dnssecOK: key.dnssecOK,
            // Of a zone's top these servers may be the wrong ones to ask for DS: that's the parent's (RFC 4035 §3.1.4.1).
            mayFollow: { key.type != .ds && $0.isSubdomain(of: zone) }
        )
        return scrubber.scrub(message)
    }

    /// Asks the servers of a zone, one after the other, until one says something about it.
    private func exchange(_ key: Outcome.Key, _ zone: Delegation, _ work: RecursionWork) async -> Exchange {
        let waiting = outstanding[zone.zone, default: 0]
        guard waiting < maximumOutstanding else {
            return .crowded("too many questions about \(zone.zone) wait for its servers")
        }
        outstanding[zone.zone] = waiting + 1
        defer {
            let left = outstanding[zone.zone, default: 1] - 1
            outstanding[zone.zone] = left > 0 ? left : nil
        }
        var round = ServerRound(zone, settings.addresses)
        var reason: String?
        while !work.isLate {
            guard let server = await next(&round, zone, work) else { break }
            guard work.takeQuery() else {
                reason = "the answer would cost too many queries"
                break
            }
            settings.counters.upstreamQueries.increment()
            switch await ask(server, key, round, work) {
            case .answer(let message):
                server.succeeded()
                let fault: String
                switch ResponseKind(
                    message,
                    key,
                    zone: zone.zone,
                    port: settings.serverPort,
                    limits: settings.timeLimits,
                    now: settings.now()
                ) {
                case .referral(let delegation): return .referral(delegation)
                case .answer:
                    if let outcome = scrub(message, key, zone.zone) { return .answer(outcome, message) }
                    fault = "gave an answer without sense"
                case .useless(let why): fault = why
                }
                reason = "\(server.upstream.address.ipAddress ?? "a server") \(fault)"
                round.exclude(server.upstream.address)
                let time = message.responseCode == .serverFailure ? Self.failureTime : Self.lameTime
                zone.avoid(server.upstream.address, until: settings.now() + time)
            case .retry: round.again(server.upstream.address)
            case .nothing(let why):
                reason = why
                server.failed()
            }
        }
        return .failure(reason ?? "no server of \(zone.zone) has an address that may be asked")
    }

    private func ask(
        _ server: ZoneServer,
        _ key: Outcome.Key,
        _ round: ServerRound,
        _ work: RecursionWork
    ) async -> Upstream.Reply {
        let left = max(work.deadline - .now(), .milliseconds(1))
        let former = max(round.attempts(server.upstream.address) - 1, 0)
        return await server.upstream.exchange(
            key,
            recursionDesired: false,
            patience: min(server.upstream.timeout(afterAttempts: former), left),
            deadline: work.deadline
        )
    }

    // MARK: Servers

    /// The server to ask next: the fastest of those asked least; where none is left untried, another one's address is
    /// looked up first.
    private func next(_ round: inout ServerRound, _ zone: Delegation, _ work: RecursionWork) async -> ZoneServer? {
        while true {
            let now = settings.now()
            var best: [ZoneServer] = []
            var fewest = Int.max
            for candidate in round.candidates where !zone.isLame(candidate.address, now: now) {
                guard candidate.attempts <= fewest else { continue }
                let server = servers.server(candidate.address)
                guard !server.isAsleep else { continue }
                if candidate.attempts < fewest { best.removeAll(keepingCapacity: true) }
                fewest = candidate.attempts
                best.append(server)
            }
            if fewest > 0, let host = round.takeUnresolved() {
                round.add(await addresses(of: host, work))
                continue
            }
            if fewest >= ServerRound.maximumAttempts {
                // All sleep: one attempt may wake one of them.
                let sleeping = round.candidates.filter { $0.attempts == 0 && !zone.isLame($0.address, now: now) }
                    .map { servers.server($0.address) }.filter(\.isAsleep)
                guard let server = sleeping.randomElement() else { return nil }
                round.count(server.upstream.address)
                return server
            }
            guard let server = Upstream.choose(best, \.upstream) else { return nil }
            round.count(server.upstream.address)
            return server
        }
    }

    private func addresses(of host: DomainName, _ work: RecursionWork) async -> [SocketAddress] {
        var found: [SocketAddress] = []
        for type in [RecordType.a, .aaaa] where found.isEmpty {
            guard type == .a ? settings.addresses.usesIPv4 : settings.addresses.usesIPv6 else { continue }
            let key = Outcome.Key(name: host, type: type, dnssecOK: settings.validates, checkingDisabled: true)
            guard work.begin(key) else { return [] }
            let outcome = await lookUp(key, work)
            work.end(key)
            // A server's name must not be an alias (RFC 2181 §10.3).
            found = outcome.answers.filter { $0.type == type && $0.name == host }
                .compactMap { $0.socketAddress(port: settings.serverPort) }
        }
        return Array(found.prefix(Delegation.maximumAddresses))
    }

    // MARK: For others

    /// What the referral to a zone said of its keys: DS records, or the proof that there are none, with signatures.
    func proof(of zone: DomainName) -> [ResourceRecord] {
        delegations.delegation(of: zone, now: settings.now())?.proof ?? []
    }

    /// Forgets a zone's servers.
    func forget(_ zone: DomainName) { _ = delegations.forget(zone) }

    /// The servers that were asked.
    var zoneServers: [ServerDescription] { servers.descriptions }

    /// What is known of zones takes now. Octets.
    var octets: Int { delegations.octets + insideNames.total }

    /// Forgets all delegations, and what was learned of servers.
    func flush() { delegations.removeAll() }

    func close() { servers.close() }
}
