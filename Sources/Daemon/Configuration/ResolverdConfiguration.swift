import DNS
import NIOCore
import Network

/// `[resolverd]`
package struct ResolverdConfiguration: Sendable {
    /// Who is asked what is neither in a local zone nor in the cache.
    package enum Mode: String, CaseIterable, Sendable {
        /// The servers of the zones, from the root down.
        case recursive
        /// The forwarders.
        case forward
        /// Nobody.
        case local
    }

    /// `forward` where forwarders are named, else `recursive`.
    package var mode: Mode
    /// Where DNS is answered, by UDP and TCP.
    package var listen: [SocketAddress]
    /// Where DNS over TLS is answered.
    package var listenTLS: [SocketAddress]
    /// Where DNS over HTTPS is answered, and at which path.
    package var listenHTTPS: [SocketAddress]
    package var httpsPath: String
    /// Whether each query is logged.
    package var queryLog: Bool
    /// Whom to ask what isn't in a local zone or the cache; nobody where empty.
    package var forwarders: [ForwarderAddress]
    /// A PEM file with the authorities whose certificates count for forwarders; the system's where nil.
    package var forwardTLSAuthorities: String?
    /// Local zones, each once.
    package var zones: [LocalZoneConfiguration]
    /// Keys that messages are signed with (RFC 8945), and the files that hold them.
    package var keys: [DomainName: String]
    /// Whom to ask about names at and below a name, in the place of `forwarders`.
    package var forwardZones: [String: [ForwarderAddress]]
    /// The servers of zones, where their parents aren't to be asked who they are.
    package var stubZones: [String: [SocketAddress]]
    /// A master file with the root's servers; those that are built in where nil.
    package var rootHints: String?
    /// The port on which servers of zones listen.
    package var serverPort: Int
    /// Whether servers on this machine are never asked, whatever a zone says.
    package var doNotQueryLocalhost: Bool
    /// Whether signatures are checked; nil for "in recursive mode".
    package var validate: Bool?
    /// A file with DS or DNSKEY records to begin with; the root's keys that are built in where nil.
    package var trustAnchors: String?
    /// Names at and below which nothing is validated.
    package var negativeTrustAnchors: [String]
    package var acceptSHA1Signatures: Bool
    package var maximumNSEC3Iterations: Int
    package var ipv4: Bool
    package var ipv6: Bool
    /// Whether answers with private addresses are refused; nil for "in recursive mode".
    package var refusePrivateAddresses: Bool?
    /// Names below which private addresses are welcome.
    package var privateZones: [String]
    /// Who gets what, and how much.
    package var clients: ResolverdClientsConfiguration
    /// Whether the keys to begin with are followed as they change (RFC 5011); nil for "where they are built in".
    package var trustAnchorUpdates: Bool?
    /// Event loops; 0 for one a core.
    package var threads: Int
    /// What the cache takes in all. Octets.
    package var cacheSize: Int
    /// The longest that an answer is kept, whatever its records say.
    package var cacheMaximumTTL: TimeAmount
    /// The longest that an answer is kept which says that there is nothing.
    package var cacheMaximumNegativeTTL: TimeAmount
    /// How many signatures of local zones are made in a second, on each event loop.
    package var maximumSignatures: Int
    /// After how long a question is given up, all servers and attempts together.
    package var queryTimeout: TimeAmount
    /// Questions to other servers that may wait for an answer at the same time.
    package var maximumPending: Int
    /// How long a TCP connection may be silent.
    package var idleTimeout: TimeAmount
    package var maximumConnections: Int
    package var maximumConnectionsPerClient: Int
    /// Transfers of zones to others at the same time, and as many from others.
    package var maximumTransfers: Int
    /// How long one transfer may take.
    package var maximumTransferTime: TimeAmount
    /// The most that the records of a zone from a primary may take. Octets.
    package var maximumZoneSize: Int
    /// The least time between two looks at a primary, whatever the zone says.
    package var minimumRefresh: TimeAmount

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        listen = try table.addresses("listen")
        listenTLS = try table.addresses("listen-tls", port: 853)
        listenHTTPS = try table.addresses("listen-https", port: 443)
        httpsPath = try table.string("https-path", default: "/dns-query")
        guard httpsPath.first == "/",
            httpsPath.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3F && $0 != 0x23 })
        else { throw table.error("https-path", "\"\(httpsPath)\" is not a path such as /dns-query") }
        queryLog = try table.boolean("query-log", default: false)
        forwarders = try table.forwarders("forwarders")
        forwardTLSAuthorities = try table.string("forward-tls-ca")
        keys = try Self.keys(table)
        zones = try Self.zones(table, keys: Set(keys.keys))
        let forwardZones = try table.table("forward-zones")
        self.forwardZones = [:]
        for name in forwardZones.keys {
            self.forwardZones[name.lowercased()] = try forwardZones.forwarders(name)
        }
        mode = try table.choice("mode", default: forwarders.isEmpty ? Mode.recursive : .forward)
        if mode == .forward, forwarders.isEmpty, forwardZones.keys.isEmpty {
            throw table.error("mode", "is \"forward\", but there are no forwarders")
        }
        let stubZones = try table.table("stub-zones")
        self.stubZones = [:]
        for name in stubZones.keys { self.stubZones[name.lowercased()] = try stubZones.addresses(name, port: 53) }
        rootHints = try table.string("root-hints")
        serverPort = try table.integer("server-port", default: 53, in: 1...65535)
        doNotQueryLocalhost = try table.boolean("do-not-query-localhost", default: true)
        ipv4 = try table.boolean("ipv4", default: true)
        ipv6 = try table.boolean("ipv6", default: true)
        refusePrivateAddresses = try table.automatic("refuse-private-addresses")
        validate = try table.automatic("dnssec")
        trustAnchors = try table.string("trust-anchors")
        negativeTrustAnchors = try table.strings("negative-trust-anchors")
        acceptSHA1Signatures = try table.boolean("accept-sha1-signatures", default: true)
        maximumNSEC3Iterations = try table.integer("maximum-nsec3-iterations", default: 150, in: 0...2500)
        privateZones = try table.strings("private-zones")
        clients = try ResolverdClientsConfiguration(table)
        for key in clients.allowQuery?.keys ?? [] where keys[key] == nil {
            throw table.error("allow-query", "the key \(key) isn't in [resolverd.keys]")
        }
        trustAnchorUpdates = try table.automatic("trust-anchor-updates")
        threads = try table.integer("threads", default: 0, in: 0...256)
        cacheSize = try table.octets("cache-size", default: 64 << 20, in: (1 << 20)...(1 << 40))
        cacheMaximumTTL = try table.duration("cache-maximum-ttl", default: .hours(24), in: .zero ... .hours(24 * 7))
        cacheMaximumNegativeTTL = try table.duration(
            "cache-maximum-negative-ttl",
            default: .hours(1),
            in: .zero ... .hours(24)
        )
        maximumSignatures = try table.integer("maximum-signatures", default: 10_000, in: 4...1_000_000)
        queryTimeout = try table.duration("query-timeout", default: .seconds(5), in: .milliseconds(100) ... .minutes(1))
        maximumPending = try table.integer("maximum-pending", default: 4096, in: 1...1_000_000)
        idleTimeout = try table.duration("idle-timeout", default: .seconds(30), in: .seconds(1) ... .hours(1))
        maximumConnections = try table.integer("maximum-connections", default: 1000, in: 1...1_000_000)
        maximumConnectionsPerClient = try table.integer(
            "maximum-connections-per-client",
            default: 100,
            in: 1...1_000_000
        )
        maximumTransfers = try table.integer("maximum-transfers", default: 10, in: 1...1000)
        maximumTransferTime = try table.duration(
            "maximum-transfer-time",
            default: .minutes(15),
            in: .seconds(1) ... .hours(24)
        )
        maximumZoneSize = try table.octets("maximum-zone-size", default: 256 << 20, in: (1 << 16)...(1 << 40))
        minimumRefresh = try table.duration("minimum-refresh", default: .minutes(1), in: .seconds(1) ... .hours(24))
    }
}

extension ResolverdConfiguration {
    fileprivate static func keys(_ table: ConfigurationTable) throws(ConfigurationError) -> [DomainName: String] {
        let table = try table.table("keys")
        var keys: [DomainName: String] = [:]
        for name in table.keys {
            let key = try table.name(name, name)
            guard keys[key] == nil else { throw table.error(name, "is there twice") }
            keys[key] = try table.string(name)
        }
        return keys
    }

    fileprivate static func zones(
        _ table: ConfigurationTable,
        keys: Set<DomainName>
    ) throws(ConfigurationError) -> [LocalZoneConfiguration] {
        let table = try table.table("zones")
        var zones: [LocalZoneConfiguration] = []
        var names: Set<DomainName> = []
        var files: Set<String> = []
        for name in table.keys {
            let zone = try LocalZoneConfiguration(table, name, keys: keys)
            guard names.insert(zone.origin).inserted else { throw table.error(name, "is there twice") }
            if zone.isWritten, !files.insert(zone.file).inserted {
                throw table.error(name, "its file is another zone's as well")
            }
            zones.append(zone)
        }
        return zones
    }
}

extension ConfigurationTable {
    /// `"yes"`, `"no"`, or nil for `"auto"`, which is what a missing key means.
    fileprivate func automatic(_ key: String) throws(ConfigurationError) -> Bool? {
        switch try string(key, default: "auto") {
        case "auto": return nil
        case "yes": return true
        case "no": return false
        default: throw error(key, "must be \"auto\", \"yes\" or \"no\"")
        }
    }
}
