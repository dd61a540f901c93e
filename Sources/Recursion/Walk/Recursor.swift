import Caching
import CoreMetrics
import DNS
import Daemon
import NIOCore

/// Asks the servers of zones, from the root down. On one event loop.
///
/// Each server is believed about names below the zone for which it was asked, and the delegation of a zone only from the
/// zone above. On the way down no server learns more of the name than it must (QNAME minimisation, RFC 9156).
final class Recursor {
    private let settings: RecursionSettings
    private let clock: Clocks
    private let counters: RecursionCounters
    private let servers: ServerTable
    private var delegations: DelegationCache
    /// Which servers failed at which questions.
    private var faults: ServerFaults
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
    /// For how long others are asked first what a server failed at, or gave something bogus to. Seconds.
    private static let failureTime: Int64 = 30
    private static let bogusTime: Int64 = 300
    /// After so many silent servers a part of the name is given up for the whole.
    private static let maximumSilences = 2
    /// So many failed queries say that a whole zone fails, where the time didn't do for all servers.
    private static let manyFailures = 6
    /// For how long a name is known to begin no zone. Seconds.
    private static let insideTime: Int64 = 600

    init(
        _ settings: RecursionSettings,
        on loop: any EventLoop,
        cacheLimit: Int,
        clock: Clocks,
        counters: RecursionCounters,
        lookUp: @escaping (Outcome.Key, RecursionWork) async -> Outcome
    ) {
        self.settings = settings
        self.clock = clock
        self.counters = counters
        self.lookUp = lookUp
        servers = ServerTable(on: loop, minimumPatience: settings.minimumPatience)
        delegations = DelegationCache(limit: cacheLimit, fixed: settings.stubs)
        insideNames = BoundedCache(limit: cacheLimit / 16)
        faults = ServerFaults(limit: cacheLimit / 16)
    }

    /// What the servers of the name's zone say; where their answer ends with an alias that leads out of the zone,
    /// `Outcome.next` is where to.
    ///
    /// - Parameter avoided: servers that aren't asked, because their answers were bogus.
    func ask(_ key: Outcome.Key, _ work: RecursionWork, avoiding avoided: [SocketAddress] = []) async -> Outcome {
        var walk = Walk(key)
        while walk.step < Self.maximumSteps {
            walk.step += 1
            guard let zone = await start(walk, work) else { return walk.failure }
            walk.pass(below: zone.zone) { isInside($0) }
            let question = walk.question(below: zone.zone)
            let wasLame = zone.isLame(now: clock.now())
            let manner = ServerRound.Manner(
                isPartial: question != key,
                first: walk.first,
                avoided: avoided,
                isLame: wasLame
            )
            switch await exchange(question, zone, work, manner) {
            case .referral(let delegation):
                delegations.keep(delegation, after: walk.former)
                walk.zone = delegation
                walk.isFresh = true
                walk.first = nil
            case .answer(let outcome, _):
                if question == key { return outcome }
                walk.learn(question, outcome)
                if outcome.code == .noError { remember(question.name) }
            case .crowded(let reason):
                walk.reason = reason
                return walk.failure
            case .unclear(let server):
                // Whoever doesn't know names in between answers the whole name perhaps.
                walk.minimises = false
                walk.first = server
            case .failure(let reason):
                walk.reason = reason
                // Where servers answer other questions, this one's failure is its own. Else the parent may have named other
                // servers meanwhile.
                guard !walk.isFresh, !wasLame, avoided.isEmpty, !zone.hasAnswered(lately: clock.now()),
                    delegations.forget(zone.zone)
                else { return walk.failure }
                walk.former = zone
                walk.zone = nil
                walk.isFresh = true
            }
        }
        return walk.failure
    }

    /// What a server said to a question is bogus: others are asked first from now on.
    ///
    /// - Parameter zone: for which it was asked; nil where nobody knows any more.
    func doubt(_ server: SocketAddress, _ key: Outcome.Key, of zone: DomainName?) {
        let now = clock.now()
        faults.note(server, key, until: now + Self.bogusTime, now: now)
        if let zone { delegations.delegation(of: zone, now: now)?.doubt(server, now: now) }
    }

    private func isInside(_ name: DomainName) -> Bool {
        insideNames.value(for: name).map { clock.now() < $0 } ?? false
    }

    private func remember(_ name: DomainName) {
        insideNames.insert(
            clock.now() + Self.insideTime,
            for: name.compacted,
            cost: memoryCost(ofOctets: name.wireCount)
        )
    }

    /// The servers to ask next.
    private func start(_ walk: Walk, _ work: RecursionWork) async -> Delegation? {
        if let zone = walk.zone { return zone }
        if let known = delegations.closest(to: walk.lowest, now: clock.now()) { return known }
        return await prime(work)
    }

    /// The current servers of the root (RFC 8109), or those of the hints where nobody says.
    private func prime(_ work: RecursionWork) async -> Delegation? {
        guard let hints = settings.rootHints else { return nil }
        let hinted = Delegation(zone: .root, hosts: hints.servers.keys, addresses: hints.servers)
        guard !isPriming else { return hinted }
        isPriming = true
        defer { isPriming = false }
        let key = Outcome.Key(name: .root, type: .ns, checkingDisabled: false)
        guard case .answer(_, let message) = await exchange(key, hinted, work, .init()) else { return hinted }
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
            expires: clock.now() + Int64(max(lifetime, 60))
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
        /// A part of the name brought nothing; who said so, if anybody.
        case unclear(SocketAddress?)
        /// Not asked at all; asking the parent, or otherwise, would be no better.
        case crowded(String)
    }

    /// What of an answer is believed; nil when it has no sense.
    private func scrub(_ message: DNSMessage, _ key: Outcome.Key, _ zone: DomainName) -> Outcome? {
        let scrubber = Scrubber(
            question: Question(name: key.name, type: key.type),
            bailiwick: zone,
            // Of a zone's top these servers may be the wrong ones to ask for DS: that's the parent's (RFC 4035 §3.1.4.1).
            mayFollow: { key.type != .ds && $0.isSubdomain(of: zone) }
        )
        return scrubber.scrub(message)
    }

    /// Asks the servers of a zone, one after the other, until one says something about it.
    private func exchange(
        _ key: Outcome.Key,
        _ zone: Delegation,
        _ work: RecursionWork,
        _ manner: ServerRound.Manner
    ) async -> Exchange {
        let waiting = outstanding[zone.zone, default: 0]
        guard waiting < maximumOutstanding else {
            return .crowded("too many questions about \(zone.zone) wait for its servers")
        }
        outstanding[zone.zone] = waiting + 1
        defer {
            let left = outstanding[zone.zone, default: 1] - 1
            outstanding[zone.zone] = left > 0 ? left : nil
        }
        var manner = manner
        manner.failing = faults.servers(failingAt: key, now: clock.now())
        var round = ServerRound(zone, settings.addresses, manner)
        /// An answer without authority, for want of a better one, and who gave it.
        var second: (outcome: Outcome, message: DNSMessage, server: SocketAddress)?
        var reason: String?
        var silences = 0
        var asked = 0
        var isOver = false
        while !work.isLate {
            guard let server = await next(&round, zone, work, manner) else {
                isOver = true
                break
            }
            guard takeQuery(work) else {
                reason = "the answer would cost too many queries"
                break
            }
            asked += 1
            let address = server.upstream.address
            switch await ask(server, key, round, work, manner) {
            case .answer(let message):
                server.succeeded()
                switch judge(message, key, zone, from: address) {
                case .referral(let delegation): return .referral(delegation)
                case .answer(let outcome):
                    if let second { zone.failed(second.server, now: clock.now()) }
                    return .answer(outcome, message)
                case .lesser(let outcome):
                    if manner.isPartial { return .unclear(address) }
                    if second == nil { second = (outcome, message, address) }
                    round.settle()
                    round.exclude(address)
                case .fault(let fault):
                    if manner.isPartial { return .unclear(address) }
                    reason = "\(address.ipAddress ?? "a server") \(fault)"
                    round.exclude(address)
                    fail(key, zone, address)
                }
            case .retry: round.again(address)
            case .unusable(let why):
                server.succeeded()
                if manner.isPartial { return .unclear(address) }
                reason = why
                fail(key, zone, address)
            case .cut(let why):
                // Slow, as one that doesn't answer; but it's there for questions with short answers.
                server.upstream.punish()
                if manner.isPartial { return .unclear(nil) }
                reason = why
                fail(key, zone, address)
            case .unreachable(let why):
                reason = why
                server.failed()
            case .nothing(let why):
                reason = why
                guard manner.isPartial else {
                    server.failed()
                    continue
                }
                server.upstream.punish()
                silences += 1
                if manner.isLame || silences == Self.maximumSilences { return .unclear(nil) }
            }
        }
        if let second {
            zone.settleForLess(now: clock.now())
            return .answer(second.outcome, second.message)
        }
        // A round of few servers says nothing new: each time all of them are asked again.
        let hasFailed = isOver ? asked > 0 : asked >= Self.manyFailures
        if hasFailed, !manner.isPartial, !manner.isLame, manner.avoided.isEmpty,
            !zone.hasAnswered(lately: clock.now())
        {
            zone.failedAltogether(now: clock.now())
        }
        return .failure(reason ?? "no server of \(zone.zone) has an address that may be asked")
    }

    /// A server was of no use for a question about a zone.
    private func fail(_ key: Outcome.Key, _ zone: Delegation, _ server: SocketAddress) {
        let now = clock.now()
        faults.note(server, key, until: now + Self.failureTime, now: now)
        zone.failed(server, now: now)
    }

    private func takeQuery(_ work: RecursionWork) -> Bool {
        guard work.takeQuery() else { return false }
        counters.upstreamQueries.increment()
        return true
    }

    private enum Judgement {
        case referral(Delegation)
        case answer(Outcome)
        /// An answer without authority.
        case lesser(Outcome)
        case fault(String)
    }

    /// What a server's message is worth.
    private func judge(
        _ message: DNSMessage,
        _ key: Outcome.Key,
        _ zone: Delegation,
        from server: SocketAddress
    ) -> Judgement {
        let now = clock.now()
        let kind = ResponseKind(
            message,
            key,
            zone: zone,
            port: settings.serverPort,
            limits: settings.timeLimits,
            now: now
        )
        switch kind {
        case .referral(let delegation):
            zone.answered(by: server, now: now)
            delegation.informant = Delegation.Informant(server: server, zone: zone.zone)
            return .referral(delegation)
        case .answer, .unauthoritativeAnswer:
            guard var outcome = scrub(message, key, zone.zone) else { return .fault("gave an answer without sense") }
            outcome.server = server
            outcome.zone = zone.zone
            if case .unauthoritativeAnswer = kind, !zone.takesLess(now: now) { return .lesser(outcome) }
            zone.answered(by: server, now: now)
            return .answer(outcome)
        case .useless(let why): return .fault(why)
        }
    }

    private func ask(
        _ server: ZoneServer,
        _ key: Outcome.Key,
        _ round: ServerRound,
        _ work: RecursionWork,
        _ manner: ServerRound.Manner
    ) async -> Upstream.Reply {
        let left = max(work.deadline - .now(), .milliseconds(1))
        let former = max(round.attempts(server.upstream.address) - 1, 0)
        return await server.upstream.exchange(
            key,
            recursionDesired: false,
            patience: min(server.upstream.timeout(afterAttempts: former), left),
            deadline: work.deadline
        ) { [self] in
            // Where a part of the name isn't understood, the whole is what to ask next.
            !manner.isPartial && takeQuery(work)
        }
    }

    // MARK: Servers

    /// The server to ask next: the fastest of those whose turn it is. Before a server is asked again, or one that is aside,
    /// another one's address is looked up.
    private func next(
        _ round: inout ServerRound,
        _ zone: Delegation,
        _ work: RecursionWork,
        _ manner: ServerRound.Manner
    ) async -> ZoneServer? {
        while true {
            let now = clock.now()
            var best: [ZoneServer] = []
            var lowest: ServerRound.Rank?
            for candidate in round.candidates {
                let server = servers.server(candidate.address)
                guard let rank = round.rank(candidate, isAsleep: server.isAsleep, now: now) else { continue }
                if let lowest, lowest < rank { continue }
                if lowest != rank { best.removeAll(keepingCapacity: true) }
                lowest = rank
                best.append(server)
            }
            if let lookup = round.takeLookup(before: lowest) {
                // A search for another server's address may have found meanwhile that all of the zone's fail.
                if !manner.isLame, zone.isLame(now: now), lookup.host.isSubdomain(of: zone.zone) { continue }
                await look(up: lookup, &round, work)
                continue
            }
            let preferred = manner.first.flatMap { first in best.first { $0.upstream.address == first } }
            let chosen = preferred ?? (lowest == .asleep ? best.randomElement() : Upstream.choose(best, \.upstream))
            guard let server = chosen else { return nil }
            round.count(server.upstream.address)
            return server
        }
    }

    /// Looks for addresses of a server: of the first type that it has any of. The other one is left for when those don't do.
    private func look(up lookup: HostLookup, _ round: inout ServerRound, _ work: RecursionWork) async {
        for (index, type) in lookup.types.enumerated() {
            let key = Outcome.Key(name: lookup.host, type: type, checkingDisabled: settings.validates)
            guard work.begin(key) else { return }
            let outcome = await lookUp(key, work)
            work.end(key)
            // A server's name must not be an alias (RFC 2181 §10.3).
            let found = outcome.answers.filter { $0.type == type && $0.name == lookup.host }
                .compactMap { $0.socketAddress(port: settings.serverPort) }
            guard !found.isEmpty else { continue }
            round.add(Array(found.prefix(Delegation.maximumAddresses)))
            let rest = Array(lookup.types[(index + 1)...])
            if !rest.isEmpty { round.putBack(HostLookup(host: lookup.host, types: rest)) }
            return
        }
    }

    // MARK: For others

    /// What the referral to a zone said of its keys: DS records, or the proof that there are none, with signatures.
    func proof(of zone: DomainName) -> [ResourceRecord] {
        delegations.delegation(of: zone, now: clock.now())?.proof ?? []
    }

    /// Forgets that, where it's bogus; gives who said it, if anybody did.
    func doubtProof(of zone: DomainName) -> Delegation.Informant? {
        guard let delegation = delegations.delegation(of: zone, now: clock.now()), !delegation.proof.isEmpty else {
            return nil
        }
        delegation.proof = []
        return delegation.informant
    }

    /// Forgets a zone's servers.
    func forget(_ zone: DomainName) { _ = delegations.forget(zone) }

    /// The servers that were asked.
    var zoneServers: [ServerDescription] { servers.descriptions }

    /// What is known of zones takes now. Octets.
    var octets: Int { delegations.octets + insideNames.total + faults.octets }

    /// Forgets all delegations, and what was learned of servers.
    func flush() {
        delegations.removeAll()
        faults.removeAll()
    }

    func close() { servers.close() }
}
