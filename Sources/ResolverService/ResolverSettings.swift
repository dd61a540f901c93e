import CoreMetrics
import DNS
import DNSSEC
import Daemon
import LocalZones
import NIOCore
import Network
import Recursion
import ZoneTransfer

/// What a resolver works by.
package struct ResolverSettings: Sendable {
    /// What our own zones are served by.
    package var zones = ZoneSettings()
    /// What other servers are asked by.
    package var recursion = RecursionSettings()
    package var clock = Clocks()
    package var forwarders: [ForwarderAddress] = []
    package var forwardZones: [DomainName: [ForwarderAddress]] = [:]
    /// Whether answers of the world that hold private addresses are refused, except below these names.
    var refusesPrivateAddresses = false
    var privateZones: Set<DomainName> = []
    package var allowRecursion: [AddressRange] = []
    /// What all that is kept may take. Octets.
    package var cacheSize = 64 << 20
    package var idleTimeout = TimeAmount.seconds(30)
    package var maximumConnections = 1000
    package var maximumConnectionsPerClient = 100
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

    package init() {}

    package init(_ configuration: ResolverdConfiguration) throws(ConfigurationError) {
        forwarders = configuration.mode == .forward ? configuration.forwarders : []
        for (name, servers) in configuration.forwardZones {
            forwardZones[try Self.name(name, key: "resolverd.forward-zones")] = servers
        }
        for zone in configuration.zones { zones.zones[zone.origin] = zone }
        for (name, servers) in configuration.stubZones {
            recursion.stubZones[try Self.name(name, key: "resolverd.stub-zones")] = servers
        }
        for name in configuration.privateZones {
            privateZones.insert(try Self.name(name, key: "resolverd.private-zones"))
        }
        recursion.addresses = AddressPolicy(
            asksLoopback: !configuration.doNotQueryLocalhost,
            usesIPv4: configuration.ipv4,
            usesIPv6: configuration.ipv6
        )
        recursion.serverPort = configuration.serverPort
        recursion.validation.acceptsSHA1 = configuration.acceptSHA1Signatures
        recursion.validation.maximumIterations = UInt16(clamping: configuration.maximumNSEC3Iterations)
        refusesPrivateAddresses = configuration.refusePrivateAddresses ?? (configuration.mode == .recursive)
        try adopt(configuration.clients)
        cacheSize = configuration.cacheSize
        zones.maximumSignatures = configuration.maximumSignatures
        recursion.queryTimeout = configuration.queryTimeout
        recursion.maximumPending = configuration.maximumPending
        idleTimeout = configuration.idleTimeout
        logsQueries = configuration.queryLog
        maximumConnections = configuration.maximumConnections
        maximumConnectionsPerClient = configuration.maximumConnectionsPerClient
        zones.maximumTransfers = configuration.maximumTransfers
        zones.transferTime = configuration.maximumTransferTime
        zones.transferLimits.octets = configuration.maximumZoneSize
        zones.minimumRefresh = Int64(Self.seconds(configuration.minimumRefresh))
        recursion.timeLimits = TimeLimits(
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
    /// What answers that are kept ready may take, on all event loops. Octets.
    var readyAnswerLimit: Int { cacheSize / 4 - signatureLimit }
    /// What signatures of ours that are kept may take, on all event loops. Octets.
    var signatureLimit: Int { zones.signs ? cacheSize / 16 : 0 }
}

/// What is counted of clients' queries, and of what it takes to answer them.
struct ResolverCounters: Sendable {
    let zones = ZoneCounters()
    let recursion = RecursionCounters()
    let queries = Counter(label: "queries")
    let fastHits = Counter(label: "answer-cache-hits")
    let local = Counter(label: "local-answers")
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
