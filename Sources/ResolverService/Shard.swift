import CoreMetrics
import DNS
import NIOCore
import Network

/// The part of the cache, and the questions in flight, for the names that fall to one event loop. A name falls to one
/// loop only, so one question is never asked twice at the same time, and nothing needs a lock.
final class Shard: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    let loop: any EventLoop
    private let settings: ResolverSettings
    private let forwarder: Forwarder
    private var cache: BoundedCache<Outcome.Key, Kept>
    private var waiting = 0
    private var inFlight: [Outcome.Key: [CheckedContinuation<Outcome, Never>]] = [:]

    private struct Kept {
        var outcome: Outcome
        var stored: Int64
        var expires: Int64
    }

    /// How many may wait for one question's answer.
    static let maximumWaiters = 1000

    init(_ settings: ResolverSettings, on loop: any EventLoop, shards: Int) {
        self.settings = settings
        self.loop = loop
        forwarder = Forwarder(on: loop, timeout: settings.queryTimeout)
        cache = BoundedCache(limit: settings.cacheSize / 4 * 3 / max(shards, 1))
    }

    /// The answer from the cache or from the servers. From any thread.
    func lookUp(
        _ key: Outcome.Key,
        _ servers: [SocketAddress],
        mayFollow: @escaping @Sendable (DomainName) -> Bool
    ) async -> Outcome {
        if loop.inEventLoop { return await find(key, servers, mayFollow) }
        return await withCheckedContinuation { continuation in
            Task(executorPreference: LoopExecutor.of(loop)) {
                continuation.resume(returning: await self.find(key, servers, mayFollow))
            }
        }
    }

    private func find(
        _ key: Outcome.Key,
        _ servers: [SocketAddress],
        _ mayFollow: @escaping @Sendable (DomainName) -> Bool
    ) async -> Outcome {
        if let outcome = cached(key) ?? cached(key.anyType) {
            settings.counters.cacheHits.increment()
            return outcome
        }
        if let waiters = inFlight[key] {
            guard waiters.count < Self.maximumWaiters, waiting < 4 * settings.maximumPending else { return Self.busy }
            waiting += 1
            defer { waiting -= 1 }
            return await withCheckedContinuation { inFlight[key]?.append($0) }
        }
        guard inFlight.count < settings.maximumPending else { return Self.busy }
        inFlight[key] = []
        settings.counters.cacheMisses.increment()
        let outcome = await forwarder.ask(key, servers, mayFollow: mayFollow).limited(settings.timeLimits)
        keep(outcome, key)
        for waiter in inFlight.removeValue(forKey: key) ?? [] { waiter.resume(returning: outcome) }
        return outcome
    }

    private static let busy = Outcome.failure(ExtendedError(code: 0, text: "too many questions are waiting"))

    private func cached(_ key: Outcome.Key) -> Outcome? {
        guard let kept = cache.value(for: key) else { return nil }
        let now = settings.now()
        guard now < kept.expires else {
            cache.remove(key)
            return nil
        }
        return kept.outcome.aged(by: UInt32(clamping: now - kept.stored))
    }

    private func keep(_ outcome: Outcome, _ key: Outcome.Key) {
        let lifetime = outcome.lifetime
        guard lifetime > 0 else { return }
        let now = settings.now()
        let isNameError = outcome.code == .nameError && outcome.answers.isEmpty
        let kept = Kept(outcome: outcome, stored: now, expires: now + Int64(lifetime))
        cache.insert(
            kept,
            for: isNameError ? key.anyType : key,
            cost: outcome.cost + memoryCost(ofOctets: key.name.wire.count)
        )
    }

    /// Forgets all answers. On the loop.
    func flush() { cache.removeAll() }

    /// What the cache takes now, octets, and how many answers it holds. On the loop.
    var size: (octets: Int, answers: Int) { (cache.total, cache.count) }

    func close() { forwarder.close() }
}
