import CoreMetrics
import DNS
import DNSSEC
import Daemon
import NIOCore
import Network
import TLS

/// What other servers are asked by.
package struct RecursionSettings: Sendable {
    /// Whose certificates count for forwarders that are asked by DNS over TLS; nil where there are none.
    package var forwardTLS: TLSContext?
    /// Where recursion starts; nil where only forwarders are asked.
    package var rootHints: RootHints?
    /// Zones whose servers the administrator named.
    package var stubZones: [DomainName: [SocketAddress]] = [:]
    /// Which addresses servers may have.
    package var addresses = AddressPolicy()
    /// Where servers of zones listen.
    package var serverPort = 53
    /// Whose signatures count; signatures are asked for and checked where there is an anchor.
    package var trustAnchors = TrustAnchors([])
    package var validation = ValidationPolicy()
    package var validates: Bool { !trustAnchors.isEmpty }
    /// All that one question may take.
    package var queryTimeout = TimeAmount.seconds(5)
    /// The least that an attempt at a server waits for its answer.
    package var minimumPatience = TimeAmount.milliseconds(150)
    /// Questions under way, on each event loop.
    package var maximumPending = 4096
    package var timeLimits = TimeLimits(positive: 86_400, negative: 3600)

    package init() {}

    /// The stub zones' servers as recursion takes them.
    var stubs: [DomainName: Delegation] {
        stubZones.reduce(into: [:]) { stubs, stub in
            stubs[stub.key] = Delegation(zone: stub.key, hosts: [stub.key], addresses: [stub.key: stub.value])
        }
    }
}

/// What is counted of asking others.
package struct RecursionCounters: Sendable {
    let cacheHits = Counter(label: "cache-hits")
    let cacheMisses = Counter(label: "cache-misses")
    let secure = Counter(label: "secure-answers")
    let bogus = Counter(label: "bogus-answers")
    /// Denials that followed from others (RFC 8020, RFC 8198).
    let synthesized = Counter(label: "synthesized-denials")
    let upstreamQueries = Counter(label: "upstream-queries")

    package init() {}
}
