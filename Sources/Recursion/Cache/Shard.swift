import Caching
import CoreMetrics
import DNS
import DNSSEC
import Daemon
import Logging
import NIOCore
import Network

/// The part of the cache, and the questions in flight, for the zones that fall to one event loop. A name falls to one
/// loop only, so one question is never asked twice at the same time, and nothing needs a lock.
package final class Shard: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    package let loop: any EventLoop
    let settings: RecursionSettings
    let clock: Clocks
    private let counters: RecursionCounters
    let forwarder: Forwarder
    private(set) var recursor: Recursor?
    private(set) var routes: any Routing
    private var anchors: TrustAnchors
    var cache: BoundedCache<Outcome.Key, Kept>
    private(set) var inFlight: [Outcome.Key: Waiters] = [:]
    private(set) var waiting = 0
    private let keys: KeyCache
    /// The zones whose keys were asked for anew because an answer had another one's signature, and until when they aren't again.
    private var keysForgotten: BoundedCache<DomainName, Int64>
    private let verified = VerifiedSignatures()
    private var gaps: ProvenGaps
    /// What answers, delegations, keys and proofs may take together. Octets.
    let limit: Int

    /// An answer with its times, by the resolver's clock.
    struct Kept {
        var outcome: Outcome
        var stored: Int64
        var expires: Int64
        /// Until when it may be given where there is no new one (RFC 8767).
        var usable: Int64
    }

    /// How long somebody waits for a new answer where an old one is at hand (RFC 8767 §5).
    private static let staleWait = TimeAmount.milliseconds(1800)
    /// For how long a zone's keys aren't asked for anew once they were. Seconds.
    private static let keysTime: Int64 = 60
    /// How many servers with bogus answers to one question are left for others.
    private static let maximumDoubts = 4
    /// An answer is asked for again when so much of its life is left: a tenth, of ten seconds at least.
    private static let prefetchShare: Int64 = 10

    /// - Parameters:
    ///   - share: what all that is kept here may take. Octets.
    ///   - logger: for what concerns other servers.
    package init(
        _ settings: RecursionSettings,
        on loop: any EventLoop,
        routes: any Routing,
        share: Int,
        clock: Clocks,
        counters: RecursionCounters,
        logger: Logger
    ) {
        self.settings = settings
        self.loop = loop
        self.routes = routes
        self.clock = clock
        self.counters = counters
        anchors = settings.trustAnchors
        forwarder = Forwarder(
            on: loop,
            timeout: settings.queryTimeout,
            minimumPatience: settings.minimumPatience,
            tls: settings.forwardTLS,
            logger: logger,
            clock: clock.now
        )
        limit = share / 4 * 3
        cache = BoundedCache(limit: limit)
        gaps = ProvenGaps(limit: share / 16)
        keys = KeyCache(limit: share / 16)
        keysForgotten = BoundedCache(limit: share / 256)
        recursor = Recursor(
            settings,
            on: loop,
            cacheLimit: share / 8,
            clock: clock,
            counters: counters
        ) { [unowned self] key, work in
            await lookUpForServer(key, work)
        }
    }

    /// The shard for a name: names of one domain fall to one loop, which knows its servers, keys and gaps.
    package static func responsible(for name: DomainName, _ shards: [Shard]) -> Shard {
        guard shards.count > 1 else { return shards[0] }
        var depth = 2
        if name.suffix(labels: 1) == reverse {
            // Of reverse zones the network counts: two octets, or eight nibbles.
            depth = name.suffix(labels: 2).firstLabel?.count == 3 ? 10 : 4
        }
        let domain = name.suffix(labels: depth)
        return shards[Int(UInt(bitPattern: domain.hashValue) % UInt(shards.count))]
    }

    private static let reverse = try? DomainName("arpa.")

    /// The answer from the cache or from the servers. From any thread.
    package func lookUp(_ key: Outcome.Key, _ source: AnswerSource, maximumQueries: Int) async -> Outcome {
        if loop.inEventLoop { return await find(key, source, maximumQueries) }
        return await withCheckedContinuation { continuation in
            Task(executorPreference: LoopExecutor.of(loop)) {
                continuation.resume(returning: await self.find(key, source, maximumQueries))
            }
        }
    }

    private func find(_ key: Outcome.Key, _ source: AnswerSource, _ maximumQueries: Int) async -> Outcome {
        let limit = min(maximumQueries, RecursionWork.maximumQueries)
        let work = RecursionWork(deadline: .now() + settings.queryTimeout, maximumQueries: limit)
        return await find(key, source, work)
    }

    /// Looks for a server's address, on behalf of another question.
    private func lookUpForServer(_ key: Outcome.Key, _ work: RecursionWork) async -> Outcome {
        if let zone = routes.ownZone(of: key.name) { return zone.answer(Question(name: key.name, type: key.type)) }
        guard let source = routes.source(of: key.name) else {
            return .failure(ExtendedError(code: ExtendedError.notReadyCode))
        }
        return await find(key, source, work)
    }

    // MARK: Cache, then servers

    private func find(_ key: Outcome.Key, _ source: AnswerSource, _ work: RecursionWork) async -> Outcome {
        loop.assertInEventLoop()
        let old = cached(key) ?? cached(key.anyType) ?? validated(key)
        if let old, clock.now() < old.expires {
            counters.cacheHits.increment()
            if isDue(old), inFlight[key] == nil { refresh(key, source) }
            return old.outcome.aged(by: UInt32(clamping: clock.now() - old.stored))
        }
        if let denial = denied(key) {
            counters.synthesized.increment()
            return denial
        }
        let stale = old.flatMap { $0.outcome.error == nil ? $0 : nil }
        if inFlight[key] != nil {
            let until = stale == nil ? work.deadline : min(work.deadline, .now() + Self.staleWait)
            return await join(key, until: until) ?? stale?.outcome.stale ?? Self.busy
        }
        guard inFlight.count < settings.maximumPending else { return stale?.outcome.stale ?? Self.busy }
        guard let stale else { return await fetch(key, source, work) }
        refresh(key, source)
        guard let outcome = await join(key, until: .now() + Self.staleWait) else { return stale.outcome.stale }
        return outcome
    }

    /// Asks the servers, and tells all who wait for the same.
    private func fetch(_ key: Outcome.Key, _ source: AnswerSource, _ work: RecursionWork) async -> Outcome {
        if inFlight[key] == nil { inFlight[key] = Waiters() }
        counters.cacheMisses.increment()
        let before = work.queries
        var outcome = await ask(key, source, work)
        if settings.validates, !key.checkingDisabled, outcome.error == nil {
            outcome = await firstGood(outcome, key, source, work)
        }
        outcome = outcome.limited(settings.timeLimits)
        outcome = keep(outcome, key)
        let waiters = inFlight.removeValue(forKey: key)
        waiting -= waiters?.count ?? 0
        waiters?.resume(with: outcome)
        outcome.queries = work.queries - before
        return outcome
    }

    /// - Parameter avoided: servers that aren't asked, because their answers were bogus.
    func ask(
        _ key: Outcome.Key,
        _ source: AnswerSource,
        _ work: RecursionWork,
        avoiding avoided: [SocketAddress] = []
    ) async -> Outcome {
        switch source {
        case .forwarders(let servers):
            let routes = routes
            return await forwarder.ask(key, servers, avoiding: avoided) { target in
                if case .forwarders(let others) = routes.source(of: target) { others == servers } else { false }
            }
        case .zones:
            guard let recursor else { return Self.busy }
            return await recursor.ask(key, work, avoiding: avoided)
        }
    }

    // MARK: Validation

    /// The first answer of a server that isn't bogus. One that is behind, or lies, doesn't speak for the others: they are asked
    /// too, and first the next time. Where all are bogus, the first one's judgement.
    private func firstGood(
        _ outcome: Outcome,
        _ key: Outcome.Key,
        _ source: AnswerSource,
        _ work: RecursionWork
    ) async -> Outcome {
        // One for all answers to the question, and what they lead to.
        let budget = ValidationBudget(verified: verified)
        let first = await validate(outcome, key, work, budget)
        // What costs too much to check is made so (KeyTrap), and isn't checked over and over.
        guard first.outcome.security == .bogus, !first.isOfKeys, !first.isCostly else { return first.outcome }
        var found = [outcome]
        // The zone whose own servers say that it signs with a key that isn't known.
        var lacking = first.lacksKey ? outcome.zone : nil
        var avoided: [SocketAddress] = []
        while let bad = found[found.count - 1].server, avoided.count < Self.maximumDoubts, !work.isLate {
            avoided.append(bad)
            doubt(bad, key, of: found[found.count - 1].zone, source)
            let other = await ask(key, source, work, avoiding: avoided)
            guard other.error == nil else { break }
            let next = await validate(other, key, work, budget)
            if next.outcome.security != .bogus { return next.outcome }
            if next.isCostly { return first.outcome }
            if next.lacksKey, lacking == nil { lacking = other.zone }
            found.append(other)
        }
        guard let zone = lacking, !work.isLate, forgetKeys(over: key, asServersOf: zone) else { return first.outcome }
        for outcome in found {
            let again = await validate(outcome, key, work, budget)
            if again.outcome.security != .bogus { return again.outcome }
            if again.isCostly { break }
        }
        return first.outcome
    }

    /// Has the keys asked for anew of the zone that a name is in, and of another server: they may be from one that is behind,
    /// and lack the key that the others sign with now. False where that was done a moment ago.
    ///
    /// - Parameter servers: the zone whose servers gave the answer: of another zone's keys they have nothing to say,
    ///   else whoever has a zone could have the keys of the one above forgotten all the time. What forwarders say leads to
    ///   nothing, since nobody knows whose word it is.
    private func forgetKeys(over key: Outcome.Key, asServersOf servers: DomainName) -> Bool {
        let name = key.type == .ds ? key.name.parent ?? key.name : key.name
        let now = clock.now()
        guard let zone = keys.secureZone(over: name), zone == servers, now >= keysForgotten.value(for: zone) ?? .min,
            let source = routes.source(of: zone)
        else { return false }
        keysForgotten.insert(now + Self.keysTime, for: zone.compacted, cost: memoryCost(ofOctets: zone.wireCount))
        keys.forget(zone)
        let keySet = Outcome.Key(name: zone, type: .dnskey, checkingDisabled: true)
        if let known = cached(keySet)?.outcome, let server = known.server {
            doubt(server, keySet, of: known.zone, source)
        }
        cache.remove(keySet)
        return true
    }

    /// The judgement of an answer. Where a chain of aliases as a whole is bogus its beginning may not be: some servers leave out
    /// what proves the rest, which is asked for by itself then.
    private func validate(
        _ outcome: Outcome,
        _ key: Outcome.Key,
        _ work: RecursionWork,
        _ budget: ValidationBudget
    ) async -> Judged {
        let whole = await judge(outcome, key, work, budget)
        guard whole.outcome.security == .bogus, !whole.isCostly, let beginning = outcome.firstAlias(of: key.name) else {
            return whole
        }
        let part = await judge(beginning, key, work, budget)
        return part.outcome.security == .bogus ? whole : part
    }

    private struct Judged {
        var outcome: Outcome
        /// Whether it's bogus because the zone's keys are.
        var isOfKeys: Bool
        /// Whether there would have been more to check than one question may cost.
        var isCostly: Bool
        /// Whether it's signed by a key that isn't known.
        var lacksKey: Bool { outcome.error?.code == ExtendedError.keyMissingCode }
    }

    /// - Parameter zone: for which the server was asked; nil for a forwarder.
    private func doubt(_ server: SocketAddress, _ key: Outcome.Key, of zone: DomainName?, _ source: AnswerSource) {
        switch source {
        case .forwarders: forwarder.doubt(server, key)
        case .zones: recursor?.doubt(server, key, of: zone)
        }
    }

    private func judge(
        _ outcome: Outcome,
        _ key: Outcome.Key,
        _ work: RecursionWork,
        _ budget: ValidationBudget
    ) async -> Judged {
        let doubts = SecurityDoubts()
        let validator = Validator(
            anchors: anchors,
            policy: settings.validation,
            cache: keys,
            budget: budget,
            now: clock.wallClock(),
            another: { [unowned self] name, type in await anotherSecurityReply(name, type, work, doubts) }
        ) { [unowned self] name, type in await securityReply(name, type, work) }
        let reply = SecurityReply(code: outcome.code, answers: outcome.answers, authorities: outcome.authorities)
        let question = Question(name: key.name, type: key.type)
        let verdict = await validator.judge(question, reply, isComplete: outcome.next == nil)
        var judged = outcome
        switch verdict.security {
        case .secure:
            counters.secure.increment()
            judged.security = .secure
        case .insecure(let reason):
            judged.security = .insecure
            judged.note = reason.map { ExtendedError(code: $0.code, text: $0.text) }
        case .bogus(let reason):
            counters.bogus.increment()
            judged = .failure(ExtendedError(code: reason.code, text: reason.text))
            judged.security = .bogus
        }
        if case .secure = verdict.security, let zone = verdict.zone, !verdict.gaps.isEmpty {
            let start = outcome.authorities.filter { record in
                record.name == zone && (record.type == .soa || RecordSignature(record)?.typeCovered == .soa)
            }
            let lifetime = min(verdict.lifetime, settings.timeLimits.negative)
            gaps.keep(verdict.gaps, of: zone, start: start, lifetime: lifetime, now: clock.now())
        }
        let limits = TimeLimits(positive: verdict.lifetime, negative: verdict.lifetime)
        return Judged(outcome: judged.limited(limits), isOfKeys: verdict.isOfKeys, isCostly: budget.isExhausted)
    }

    /// What is known not to be there without asking: below a name that is proven not to exist (RFC 8020), and in a gap
    /// between names that is proven (RFC 8198). A proof ends where other servers are asked, or where trust ends or begins anew:
    /// the tree above knows nothing of an internal zone.
    private func denied(_ key: Outcome.Key) -> Outcome? {
        // DS records are the parent's.
        let owner = key.type == .ds ? key.name.parent ?? key.name : key.name
        guard settings.validates, !key.checkingDisabled, let anchor = anchors.beginning(of: owner) else { return nil }
        let route = routes.top(over: owner)
        let top = route.labelCount > anchor.labelCount ? route : anchor
        let now = clock.now()
        var above = key
        while let parent = above.name.parent, !parent.isRoot, parent.isSubdomain(of: top) {
            above.name = parent
            guard let kept = cached(above.anyType), now < kept.expires, kept.outcome.security == .secure,
                kept.outcome.code == .nameError
            else { continue }
            return kept.outcome.aged(by: UInt32(clamping: now - kept.stored))
        }
        return gaps.denial(key.name, key.type, within: top, now: now)
    }

    /// Whose DS and DNSKEY records were bogus in one validation.
    private final class SecurityDoubts {
        var servers: [Outcome.Key: [SocketAddress]] = [:]
    }

    /// DS or DNSKEY records from another server than those that gave bogus ones; nil where there is none.
    private func anotherSecurityReply(
        _ name: DomainName,
        _ type: RecordType,
        _ work: RecursionWork,
        _ doubts: SecurityDoubts
    ) async -> SecurityReply? {
        let key = Outcome.Key(name: name, type: type, checkingDisabled: true)
        guard !work.isLate, let source = routes.source(of: type == .ds ? name.parent ?? name : name) else {
            return nil
        }
        if type == .ds, recursor?.proof(of: name).isEmpty == false {
            // It came with the referral; whoever leaves half of it out there may have it all when asked for it.
            if let informant = recursor?.doubtProof(of: name) {
                doubt(informant.server, key, of: informant.zone, source)
            }
        } else if let known = cached(key)?.outcome, let server = known.server {
            doubts.servers[key, default: []].append(server)
            doubt(server, key, of: known.zone, source)
        } else {
            return nil
        }
        // The servers of zones count by themselves.
        if case .forwarders = source, !work.takeQuery() { return nil }
        let outcome = await ask(key, source, work, avoiding: doubts.servers[key] ?? [])
        guard outcome.error == nil else { return nil }
        _ = keep(outcome.limited(settings.timeLimits), key)
        return SecurityReply(code: outcome.code, answers: outcome.answers, authorities: outcome.authorities)
    }

    /// DS or DNSKEY records, unchecked: from a referral, the cache or the servers.
    private func securityReply(_ name: DomainName, _ type: RecordType, _ work: RecursionWork) async -> SecurityReply? {
        if type == .ds, let proof = recursor?.proof(of: name), !proof.isEmpty {
            return SecurityReply(code: .noError, answers: proof, authorities: proof)
        }
        let key = Outcome.Key(name: name, type: type, checkingDisabled: true)
        // DS records are the parent's, whoever is asked about the zone itself.
        let place = type == .ds ? name.parent ?? name : name
        if let zone = routes.ownZone(of: place) { return zone.proof(Question(name: name, type: type)) }
        guard let source = routes.source(of: place) else { return nil }
        let outcome = await find(key, source, work)
        guard outcome.error == nil else { return nil }
        return SecurityReply(code: outcome.code, answers: outcome.answers, authorities: outcome.authorities)
    }

    private static let busy = Outcome.failure(ExtendedError(code: 0, text: "too many questions are waiting"))

    /// Asks anew while nobody waits, or those who wait have an old answer to fall back on.
    private func refresh(_ key: Outcome.Key, _ source: AnswerSource) {
        guard inFlight.count < settings.maximumPending else { return }
        // Taken before the task runs, so that nobody else begins the same.
        inFlight[key] = Waiters()
        Task(executorPreference: LoopExecutor.of(loop)) {
            _ = await self.fetch(key, source, RecursionWork(deadline: .now() + self.settings.queryTimeout))
        }
    }

    private func isDue(_ kept: Kept) -> Bool {
        let life = kept.expires - kept.stored
        return life >= Self.prefetchShare && kept.outcome.error == nil && !kept.outcome.isDenial
            && (kept.expires - clock.now()) * Self.prefetchShare < life
    }

    /// Waits for an answer that is under way; nil when it doesn't come in time, or too many wait.
    private func join(_ key: Outcome.Key, until deadline: NIODeadline) async -> Outcome? {
        guard inFlight[key].map({ $0.count < Waiters.maximum }) ?? false, waiting < 4 * settings.maximumPending else {
            return nil
        }
        waiting += 1
        return await withCheckedContinuation { continuation in
            let id = inFlight[key]?.add(continuation) ?? 0
            inFlight[key]?.timers[id] = loop.scheduleTask(deadline: deadline) {
                guard let waiter = self.inFlight[key]?.remove(id) else { return }
                self.waiting -= 1
                waiter.resume(returning: nil)
            }
        }
    }

    // MARK: Keeping

    /// What the cache has, old or new.
    private func cached(_ key: Outcome.Key) -> Kept? {
        guard let kept = cache.value(for: key) else { return nil }
        guard clock.now() < kept.usable else {
            cache.remove(key)
            return nil
        }
        return kept
    }

    /// For those who validate themselves, what was found to be right.
    private func validated(_ key: Outcome.Key) -> Kept? {
        guard key.checkingDisabled, settings.validates else { return nil }
        var other = key
        other.checkingDisabled = false
        guard let kept = cached(other) ?? cached(other.anyType), kept.outcome.error == nil else { return nil }
        return kept
    }

    /// Keeps an answer. Where there is none, an old one stays and is given in its place (RFC 8767 §4).
    private func keep(_ outcome: Outcome, _ key: Outcome.Key) -> Outcome {
        let now = clock.now()
        if outcome.error != nil, outcome.security != .bogus, var old = cached(key), old.outcome.error == nil {
            guard now >= old.expires else { return old.outcome.aged(by: UInt32(clamping: now - old.stored)) }
            old.outcome = old.outcome.stale
            old.stored = now
            old.expires = now + Int64(TimeLimits.staleAnswer)
            store(old, key)
            return old.outcome
        }
        let lifetime = outcome.lifetime
        guard lifetime > 0 else { return outcome }
        let isNameError = outcome.code == .nameError && outcome.answers.isEmpty
        let expires = now + Int64(lifetime)
        let usable = outcome.error == nil ? expires + TimeLimits.stale : expires
        let kept = Kept(outcome: outcome, stored: now, expires: expires, usable: usable)
        store(kept, isNameError ? key.anyType : key)
        return outcome
    }

    private func store(_ kept: Kept, _ key: Outcome.Key) {
        var kept = kept
        var key = key
        key.name = key.name.compacted
        let cost: Int
        (kept.outcome, cost) = kept.outcome.compacted(under: key.name)
        // Answers have what delegations, keys and proofs leave of the whole.
        cache.limit = limit - derivedOctets
        cache.insert(kept, for: key, cost: cost)
    }

    /// What delegations, keys and proofs take now. On the loop.
    var derivedOctets: Int { gaps.octets + keys.octets + keysForgotten.total + (recursor?.octets ?? 0) }

    /// Serves other zones from now on, and forgets what may have come past a zone that is ours now. On the loop.
    ///
    /// - Parameter onlyVersions: they are the same zones in other versions.
    package func adopt(_ routes: any Routing, onlyVersions: Bool) {
        self.routes = routes
        if !onlyVersions { flush() }
    }

    /// Trusts other keys from now on, and forgets what others proved. On the loop.
    package func adopt(_ anchors: TrustAnchors) {
        self.anchors = anchors
        flush()
    }

    /// Forgets all answers. On the loop.
    package func flush() {
        loop.assertInEventLoop()
        cache.removeAll()
        recursor?.flush()
        keys.removeAll()
        gaps.removeAll()
    }

    /// Forgets what follows from other answers: servers, keys and gaps. On the loop.
    func forgetDerived(_ name: DomainName) {
        loop.assertInEventLoop()
        recursor?.forget(name)
        keys.removeAll()
        gaps.removeAll()
    }

    /// What the cache takes now, octets, and how many answers it holds. On the loop.
    package var size: (octets: Int, answers: Int) { (cache.total, cache.count) }

    package func close() {
        forwarder.close()
        recursor?.close()
        recursor = nil
    }
}
