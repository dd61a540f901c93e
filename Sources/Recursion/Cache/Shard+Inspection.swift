import Caching
import DNS
import Daemon
import NIOCore
import Network

extension Shard {
    /// Runs a look or a change on the shard's event loop. From any thread.
    package func onLoop<Value: Sendable>(_ body: @escaping @Sendable (Shard) -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            loop.execute { continuation.resume(returning: body(self)) }
        }
    }

    /// What is cached, of one name or at and below it, or all; on the loop.
    package func entries(_ name: DomainName?, isExact: Bool, maximum: Int) -> [CacheEntry] {
        let now = clock.now()
        var entries: [CacheEntry] = []
        cache.forEach { key, kept in
            guard entries.count < maximum, !key.checkingDisabled || !settings.validates else { return }
            if let name, isExact ? key.name != name : !key.name.isSubdomain(of: name) { return }
            let outcome = kept.outcome
            entries.append(
                CacheEntry(
                    name: key.name,
                    type: key.type.rawValue == 0 ? nil : key.type,
                    code: outcome.code,
                    security: outcome.security,
                    timeToLive: kept.expires - now,
                    records: (outcome.answers + outcome.authorities).map(\.description),
                    reason: (outcome.error ?? outcome.note)?.text
                )
            )
        }
        return entries
    }

    /// Forgets what is cached of a name, or at and below it; gives how many answers that were. On the loop.
    package func forget(_ name: DomainName, below isBelow: Bool) -> Int {
        var keys: [Outcome.Key] = []
        cache.forEach { key, _ in
            if isBelow ? key.name.isSubdomain(of: name) : key.name == name { keys.append(key) }
        }
        for key in keys { cache.remove(key) }
        forgetDerived(name)
        return keys.count
    }

    /// On the loop.
    package var statistics: ShardStatistics {
        ShardStatistics(
            answers: cache.count,
            octets: cache.total,
            derivedOctets: derivedOctets,
            limit: limit,
            inFlight: inFlight.count,
            waiting: waiting,
            servers: servers.count
        )
    }

    /// The servers that were asked. On the loop.
    package var servers: [ServerDescription] { forwarder.servers + (recursor?.zoneServers ?? []) }
}

extension Forwarder {
    /// The servers that were asked.
    var servers: [ServerDescription] {
        known.map { server, upstream in
            ServerDescription(
                address: server.transport == .udp ? "\(upstream.address)" : "\(server)",
                kind: "forwarder",
                milliseconds: Int(upstream.smoothedTime),
                state: "awake"
            )
        }
    }
}

extension ServerTable {
    /// The servers that were asked.
    var descriptions: [ServerDescription] {
        var found: [ServerDescription] = []
        forEach { server in
            found.append(
                ServerDescription(
                    address: "\(server.upstream.address)",
                    kind: "zone server",
                    milliseconds: Int(server.upstream.smoothedTime),
                    state: server.isAsleep ? "asleep" : "awake"
                )
            )
        }
        return found
    }
}
