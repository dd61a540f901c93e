import DNS
import DNSSEC
import Daemon
import Logging
import CoreMetrics
import NIOCore
import Network
import TLS
import TSIG
import ZoneTransfer

#if canImport(Glibc)
import Glibc
#endif

/// What a resolver works by.
package struct ResolverSettings: Sendable {
    package var forwarders: [ForwarderAddress] = []
    package var forwardZones: [DomainName: [ForwarderAddress]] = [:]
    /// Whose certificates count for forwarders that are asked by DNS over TLS; nil where there are none.
    var forwardTLS: TLSContext?
    /// For what concerns other servers.
    var logger = Logger(label: "resolverd") { _ in SwiftLogNoOpLogHandler() }
    /// Where recursion starts; nil where only forwarders are asked.
    var rootHints: RootHints?
    /// Zones whose servers the administrator named.
    var stubZones: [DomainName: [SocketAddress]] = [:]
    /// Which addresses servers may have.
    var addresses = AddressPolicy()
    /// Where servers of zones listen.
    var serverPort = 53
    /// Whether answers of the world that hold private addresses are refused, except below these names.
    var refusesPrivateAddresses = false
    var privateZones: Set<DomainName> = []
    /// Whose signatures count; signatures are asked for and checked where there is an anchor.
    var trustAnchors = TrustAnchors([])
    var validation = ValidationPolicy()
    var validates: Bool { !trustAnchors.isEmpty }
    /// Seconds since 1970, modulo 2^32: what signatures' times are compared with.
    var wallClock: @Sendable () -> UInt32 = { UInt32(truncatingIfNeeded: time(nil)) }
    /// Seconds since 1970: what the times of signed messages (RFC 8945) are compared with.
    var secondsSince1970: @Sendable () -> UInt64 = { UInt64(max(time(nil), 0)) }
    /// Keys that messages are signed with.
    var keys = TSIGKeyStore()
    /// What the administrator says about local zones beside their files.
    var localZones: [DomainName: LocalZoneConfiguration] = [:]
    /// How many signatures are made in a second on each event loop.
    var maximumSignatures = 10_000
    package var allowRecursion: [AddressRange] = []
    /// Octets.
    package var cacheSize = 64 << 20
    package var queryTimeout = TimeAmount.seconds(5)
    /// The least that an attempt at a server waits for its answer.
    var minimumPatience = TimeAmount.milliseconds(150)
    /// On each event loop.
    package var maximumPending = 4096
    package var idleTimeout = TimeAmount.seconds(30)
    package var maximumConnections = 1000
    package var maximumConnectionsPerClient = 100
    /// Transfers from others at the same time.
    var maximumTransfers = 10
    /// Transfers to others at the same time.
    var transferPlaces = TransferPlaces(10)
    var transferTime = TimeAmount.minutes(15)
    /// What is taken of a zone from a primary.
    var transferLimits = TransferLimits()
    /// The least time between two looks at a primary. Seconds.
    var minimumRefresh: Int64 = 60
    var timeLimits = TimeLimits(positive: 86_400, negative: 3600)
    /// Seconds since some moment, never going back.
    package var now: @Sendable () -> Int64 = { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000_000) }
    var logsQueries = false
    /// What answers by UDP are limited to.
    var rateLimits = RateLimits()
    /// Questions of one client's network that may wait, on each event loop.
    var maximumPendingPerClient = 500
    /// Makes cookies; nil where clients get none.
    var cookies = ServerCookies.random()
    /// What is answered to those who ask who we are (RFC 5001); empty for nothing.
    var identity: [UInt8] = []
    /// Who gets answers from local zones that have no list of their own; nil for everybody.
    var allowQuery: AccessList?
    /// Makes up addresses for clients that only have IPv6; nil for nobody.
    var dns64: DNS64?
    let counters = ResolverCounters()

    package init() {}

    package init(_ configuration: ResolverdConfiguration) throws(ConfigurationError) {
        forwarders = configuration.mode == .forward ? configuration.forwarders : []
        for (name, servers) in configuration.forwardZones {
            forwardZones[try Self.name(name, key: "resolverd.forward-zones")] = servers
        }
        for zone in configuration.zones { localZones[zone.origin] = zone }
        for (name, servers) in configuration.stubZones {
            stubZones[try Self.name(name, key: "resolverd.stub-zones")] = servers
        }
        for name in configuration.privateZones {
            privateZones.insert(try Self.name(name, key: "resolverd.private-zones"))
        }
        addresses = AddressPolicy(
            asksLoopback: !configuration.doNotQueryLocalhost,
            usesIPv4: configuration.ipv4,
            usesIPv6: configuration.ipv6
        )
        serverPort = configuration.serverPort
        validation.acceptsSHA1 = configuration.acceptSHA1Signatures
        validation.maximumIterations = UInt16(clamping: configuration.maximumNSEC3Iterations)
        refusesPrivateAddresses = configuration.refusePrivateAddresses ?? (configuration.mode == .recursive)
        try adopt(configuration.clients)
        cacheSize = configuration.cacheSize
        maximumSignatures = configuration.maximumSignatures
        queryTimeout = configuration.queryTimeout
        maximumPending = configuration.maximumPending
        idleTimeout = configuration.idleTimeout
        logsQueries = configuration.queryLog
        maximumConnections = configuration.maximumConnections
        maximumConnectionsPerClient = configuration.maximumConnectionsPerClient
        maximumTransfers = configuration.maximumTransfers
        transferPlaces = TransferPlaces(configuration.maximumTransfers)
        transferTime = configuration.maximumTransferTime
        transferLimits.octets = configuration.maximumZoneSize
        minimumRefresh = Int64(Self.seconds(configuration.minimumRefresh))
        timeLimits = TimeLimits(
            positive: Self.seconds(configuration.cacheMaximumTTL),
            negative: Self.seconds(configuration.cacheMaximumNegativeTTL)
        )
    }

    private mutating func adopt(_ clients: ResolverdClientsConfiguration) throws(ConfigurationError) {
        allowRecursion = clients.allowRecursion
        allowQuery = clients.allowQuery
        if !clients.cookies { cookies = nil }
        identity = clients.identity
        rateLimits = RateLimits(
            perKind: clients.rateLimit,
            all: clients.rateLimitAll,
            slip: clients.rateLimitSlip,
            exempt: clients.rateLimitExempt,
            requiresCookies: clients.requireCookies
        )
        maximumPendingPerClient = clients.maximumPendingPerClient
        dns64 = clients.dns64.flatMap { dns64 in
            DNS64(
                prefix: dns64.prefix,
                clients: dns64.clients,
                excluded: dns64.excluded,
                unmapped: dns64.unmapped
            )
        }
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

extension ResolverSettings {
    /// The stub zones' servers as recursion takes them.
    var stubs: [DomainName: Delegation] {
        stubZones.reduce(into: [:]) { stubs, stub in
            stubs[stub.key] = Delegation(zone: stub.key, hosts: [stub.key], addresses: [stub.key: stub.value])
        }
    }
}

extension ResolverSettings {
    /// What answers that are kept ready may take, on all event loops. Octets.
    var readyAnswerLimit: Int { cacheSize / 4 - signatureLimit }
    /// What signatures of ours that are kept may take, on all event loops. Octets.
    var signatureLimit: Int { localZones.values.contains { $0.sign != nil } ? cacheSize / 16 : 0 }
}

/// What is counted.
struct ResolverCounters: Sendable {
    let queries = Counter(label: "queries")
    let fastHits = Counter(label: "answer-cache-hits")
    let local = Counter(label: "local-answers")
    let cacheHits = Counter(label: "cache-hits")
    let cacheMisses = Counter(label: "cache-misses")
    let secure = Counter(label: "secure-answers")
    /// Signatures of ours that were made, and that weren't because there were too many.
    let signatures = Counter(label: "signatures")
    let unsigned = Counter(label: "signatures-refused")
    /// Denials that followed from others (RFC 8020, RFC 8198).
    let synthesized = Counter(label: "synthesized-denials")
    let bogus = Counter(label: "bogus-answers")
    let upstreamQueries = Counter(label: "upstream-queries")
    /// Zones that others were sent.
    let transfers = Counter(label: "transfers-out")
    let updates = Counter(label: "updates")
    let failedUpdates = Counter(label: "failed-updates")
    let refused = Counter(label: "refused")
    let failures = Counter(label: "servfail")
    let malformed = Counter(label: "malformed")
    /// Answers that nobody got because of limits, and those that were cut.
    let limited = Counter(label: "rate-limited")
    let slipped = Counter(label: "slipped")
    /// Questions that were one too many of their client.
    let crowded = Counter(label: "clients-crowded")
    /// Answers that came too late for a client of whom many wait.
    let late = Counter(label: "late-answers")
}
