import DNS
import Daemon
import Logging
import CoreMetrics
import NIOCore
import Network

/// What a resolver works by.
package struct ResolverSettings: Sendable {
    package var forwarders: [SocketAddress] = []
    package var forwardZones: [DomainName: [SocketAddress]] = [:]
    package var allowRecursion: [AddressRange] = []
    /// Octets.
    package var cacheSize = 64 << 20
    package var queryTimeout = TimeAmount.seconds(5)
    /// On each event loop.
    package var maximumPending = 4096
    package var idleTimeout = TimeAmount.seconds(30)
    package var maximumConnections = 1000
    package var maximumConnectionsPerClient = 100
    var timeLimits = TimeLimits(positive: 86_400, negative: 3600)
    /// Seconds since some moment, never going back.
    package var now: @Sendable () -> Int64 = { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000_000) }
    let counters = ResolverCounters()

    package init() {}

    package init(_ configuration: ResolverdConfiguration) throws(ConfigurationError) {
        forwarders = configuration.forwarders
        for (name, servers) in configuration.forwardZones {
            forwardZones[try Self.name(name, key: "resolverd.forward-zones")] = servers
        }
        allowRecursion = configuration.allowRecursion
        cacheSize = configuration.cacheSize
        queryTimeout = configuration.queryTimeout
        maximumPending = configuration.maximumPending
        idleTimeout = configuration.idleTimeout
        maximumConnections = configuration.maximumConnections
        maximumConnectionsPerClient = configuration.maximumConnectionsPerClient
        timeLimits = TimeLimits(
            positive: Self.seconds(configuration.cacheMaximumTTL),
            negative: Self.seconds(configuration.cacheMaximumNegativeTTL)
        )
    }

    private static func seconds(_ amount: TimeAmount) -> UInt32 { UInt32(clamping: amount.nanoseconds / 1_000_000_000) }

    static func name(_ text: String, key: String) throws(ConfigurationError) -> DomainName {
        do {
            return try DomainName(text)
        } catch {
            throw ConfigurationError(
                file: "etc/martlet.toml",
                key: "\(key).\"\(text)\"",
                reason: "is not a domain name (\(error))"
            )
        }
    }
}

/// What is counted.
struct ResolverCounters: Sendable {
    let queries = Counter(label: "queries")
    let fastHits = Counter(label: "answer-cache-hits")
    let local = Counter(label: "local-answers")
    let cacheHits = Counter(label: "cache-hits")
    let cacheMisses = Counter(label: "cache-misses")
    let refused = Counter(label: "refused")
    let failures = Counter(label: "servfail")
    let malformed = Counter(label: "malformed")
}
