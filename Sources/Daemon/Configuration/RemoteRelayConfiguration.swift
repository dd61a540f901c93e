import NIOCore

/// `[remote-relay]`
package struct RemoteRelayConfiguration: Sendable {
    /// When TLS is used towards other hosts.
    package enum TLSPolicy: String, Sendable, CaseIterable {
        /// Where the other host offers it, whatever its certificate (RFC 7435).
        case opportunistic
        case off
        /// Mail waits for a host that offers it.
        case required
    }

    /// Where connections for some senders' mail come from.
    package struct Source: Sendable, Hashable {
        package var ipv4: SocketAddress?
        package var ipv6: SocketAddress?
        /// Our name in EHLO there; nil for `hostname`.
        package var hostname: String?
        /// The same where the connection is by IPv4; nil for that of both families.
        package var ipv4Hostname: String?
        package var ipv6Hostname: String?

        package init(
            ipv4: SocketAddress? = nil,
            ipv6: SocketAddress? = nil,
            hostname: String? = nil,
            ipv4Hostname: String? = nil,
            ipv6Hostname: String? = nil
        ) {
            self.ipv4 = ipv4
            self.ipv6 = ipv6
            self.hostname = hostname
            self.ipv4Hostname = ipv4Hostname
            self.ipv6Hostname = ipv6Hostname
        }
    }

    /// How long the other host may take (RFC 5321 §4.5.3.2).
    package struct Timeouts: Sendable {
        package var connect: TimeAmount
        /// The greeting, and the answers to EHLO, STARTTLS, MAIL and RCPT.
        package var command: TimeAmount
        /// The answer to DATA, and each block of the message.
        package var data: TimeAmount
        /// The answer to the end of the message.
        package var end: TimeAmount
    }

    /// The port of other hosts.
    package var port: Int
    /// Routes by the recipient's domain: `example.net`, `.example.net` or `*`.
    package var routes: [String: RelayRoute] = [:]
    /// Routes by the sender: an address, or a domain as in `routes`. They go before those by the recipient.
    package var senderRoutes: [String: RelayRoute] = [:]
    /// Routes by the account that handed the mail in. They go before all others.
    package var accountRoutes: [String: RelayRoute] = [:]
    /// Routes that rules of smtpd's policy give messages, by name. They go before all others.
    package var namedRoutes: [String: RelayRoute] = [:]
    /// A file with what to log in with at hosts of routes; need not be there where no route names any.
    package var credentials: String
    package var tls: TLSPolicy
    /// What is wanted of TLS by the recipients' domain or the host's name: `example.net` or `.example.net`.
    package var tlsRules: [String: RelayTLSRule] = [:]
    /// Whether TLSA records are looked at (RFC 7672).
    package var usesDANE: Bool
    /// Whether domains' policies are fetched (RFC 8461).
    package var usesMTASTS: Bool
    /// A PEM file with those whose certificates are trusted where TLS must be verified; the system's where nil.
    package var authorities: String?
    /// Which of `[tls.pairs.NAME]` hosts are shown that ask for a certificate, where no line says something else; nil for none.
    package var clientCertificate: String?
    package var timeouts: Timeouts
    /// The local addresses that connections come from, nil for the system's choice, and our names there.
    package var source = Source()
    /// The same by the sender's domain, as in `routes`.
    package var sources: [String: Source] = [:]
    /// How long an idle connection is kept for the next message.
    package var reuseTime: TimeAmount
    /// Messages over one connection.
    package var reuseCount: Int
    /// Sessions with one address of another host at the same time, whatever domains' mail they carry.
    package var hostConcurrency: Int
    /// The shortest time between the beginnings of two deliveries to one address of another host; nil for none.
    package var hostInterval: TimeAmount?
    /// The same by the host's name: `mx.example.net`, `.example.net`.
    package var hostIntervals: [String: TimeAmount] = [:]
    /// Whether mail of our domains is signed, where they have keys (RFC 6376).
    package var signs: Bool
    /// Whether strangers' mail that goes on is sealed (RFC 8617).
    package var seals: Bool

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        port = try table.integer("port", default: 25, in: 1...65535)
        tls = try table.choice("tls", default: .opportunistic)
        let rules = try table.table("tls-policy")
        for name in rules.keys {
            try Self.add(try RelayTLSRule(name, in: rules), name, to: &tlsRules, rules)
        }
        usesDANE = try table.boolean("dane", default: true)
        usesMTASTS = try table.boolean("mta-sts", default: true)
        authorities = try table.string("authorities")
        clientCertificate = try table.string("client-certificate")
        credentials = try table.string("credentials", default: "etc/relay-credentials.toml")
        timeouts = Timeouts(
            connect: try table.duration("connect-timeout", default: .seconds(30)),
            command: try table.duration("command-timeout", default: .minutes(5)),
            data: try table.duration("data-timeout", default: .minutes(3)),
            end: try table.duration("end-timeout", default: .minutes(10))
        )
        source = Source(
            ipv4: try Self.source(table, "source-ipv4"),
            ipv6: try Self.source(table, "source-ipv6"),
            ipv4Hostname: try Self.name(table, "hostname-ipv4"),
            ipv6Hostname: try Self.name(table, "hostname-ipv6")
        )
        reuseTime = try table.duration("reuse-time", default: .seconds(5))
        reuseCount = try table.integer("reuse-count", default: 500, in: 1...1_000_000)
        hostConcurrency = try table.integer("host-concurrency", default: 20, in: 1...10_000)
        hostInterval = try Self.interval(table, "host-rate")
        let rates = try table.table("host-rates")
        for host in rates.keys {
            if let interval = try Self.interval(rates, host) { try Self.add(interval, host, to: &hostIntervals, rates) }
        }
        signs = try table.boolean("dkim", default: true)
        seals = try table.boolean("arc", default: true)
        routes = try Self.routes(try table.table("routes"), port: port)
        senderRoutes = try Self.routes(try table.table("sender-routes"), port: port)
        accountRoutes = try Self.routes(try table.table("account-routes"), port: port)
        let named = try table.table("named-routes")
        namedRoutes = try Self.routes(named, port: port)
        for name in named.keys where !Self.isRouteName(name) {
            throw named.error(name, "the name of a route is letters, digits, \"-\", \"_\" and \".\", 32 at most")
        }
        let sources = try table.table("sources")
        for domain in sources.keys {
            let table = try sources.table(domain)
            let source = Source(
                ipv4: try Self.source(table, "ipv4"),
                ipv6: try Self.source(table, "ipv6"),
                hostname: try Self.name(table, "hostname"),
                ipv4Hostname: try Self.name(table, "hostname-ipv4"),
                ipv6Hostname: try Self.name(table, "hostname-ipv6")
            )
            try Self.add(source, domain, to: &self.sources, sources)
        }
    }

    private var allRoutes: [RelayRoute] {
        [namedRoutes, routes, senderRoutes, accountRoutes].flatMap(\.values)
    }

    /// The programs that routes give mail to.
    package var namedCommands: Set<String> {
        Set(allRoutes.compactMap { if case .pipe(let name) = $0 { name } else { nil } })
    }

    /// Whether somebody may have to be logged in for.
    package var namedCredentials: Set<String> {
        Set(allRoutes.compactMap { if case .hosts(let hosts) = $0 { hosts.credentials } else { nil } })
    }

    /// The pairs of `[tls.pairs.NAME]` that other hosts may be shown.
    package var clientCertificates: Set<String> {
        var names: Set<String?> = [clientCertificate]
        names.formUnion(tlsRules.values.map(\.clientCertificate))
        for case .hosts(let hosts) in allRoutes {
            names.insert(hosts.clientCertificate)
        }
        return Set(names.compactMap(\.self)).subtracting([""])
    }

    /// Whether a route may be called so: queue files keep room for the name.
    package static func isRouteName(_ text: String) -> Bool {
        (1...maximumRouteName).contains(text.utf8.count)
            && text.utf8.allSatisfy { octet in
                switch octet {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }

    /// Octets.
    package static let maximumRouteName = 32

    /// Where MTA-STS policies are kept, relative to the instance directory.
    package static let directory = "relay"

    private static func routes(_ table: ConfigurationTable, port: Int) throws(ConfigurationError) -> [String:
        RelayRoute]
    {
        var routes: [String: RelayRoute] = [:]
        for key in table.keys { try add(try RelayRoute(key, in: table, port: port), key, to: &routes, table) }
        return routes
    }

    private static func add<Value>(
        _ value: Value,
        _ key: String,
        to values: inout [String: Value],
        _ table: ConfigurationTable
    ) throws(ConfigurationError) {
        guard values.updateValue(value, forKey: key.lowercased()) == nil else {
            throw table.error(key, "it stands there twice")
        }
    }

    private static func name(_ table: ConfigurationTable, _ key: String) throws(ConfigurationError) -> String? {
        guard let name = try table.string(key) else { return nil }
        guard Configuration.isDomain(name) else { throw table.error(key, "\"\(name)\" is not a domain name") }
        return name
    }

    private static func interval(_ table: ConfigurationTable, _ key: String) throws(ConfigurationError) -> TimeAmount? {
        guard let rate = try table.string(key) else { return nil }
        guard let interval = Quantity.interval(rate) else {
            throw table.error(key, "must be a number of deliveries in a time such as \"10/s\" or \"600/h\"")
        }
        return interval
    }

    private static func source(_ table: ConfigurationTable, _ key: String) throws(ConfigurationError) -> SocketAddress?
    {
        guard let text = try table.string(key) else { return nil }
        let wanted = key.hasSuffix("6") ? NIOBSDSocket.ProtocolFamily.inet6 : .inet
        guard let address = try? SocketAddress(ipAddress: text, port: 0), address.protocol == wanted else {
            throw table.error(key, "\"\(text)\" is not such an address")
        }
        return address
    }
}
