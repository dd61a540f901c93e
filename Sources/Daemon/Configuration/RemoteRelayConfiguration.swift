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

    /// A static route.
    package struct Route: Sendable, Equatable {
        package let host: String
        package let port: Int
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
    /// `example.net`, `.example.net` or `*` to a host.
    package var routes: [String: Route] = [:]
    package var tls: TLSPolicy
    /// A PEM file with those whose certificates are trusted where TLS must be verified; the system's where nil.
    package var authorities: String?
    package var timeouts: Timeouts
    /// The local addresses that connections come from; nil for the system's choice.
    package var sourceV4: SocketAddress?
    package var sourceV6: SocketAddress?
    /// How long an idle connection is kept for the next message.
    package var reuseTime: TimeAmount
    /// Messages over one connection.
    package var reuseCount: Int
    /// Sessions with one address of another host at the same time, whatever domains' mail they carry.
    package var hostConcurrency: Int
    /// Whether mail of our domains is signed, where they have keys (RFC 6376).
    package var signs: Bool
    /// Whether strangers' mail that goes on is sealed (RFC 8617).
    package var seals: Bool

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        port = try table.integer("port", default: 25, in: 1...65535)
        tls = try table.choice("tls", default: .opportunistic)
        authorities = try table.string("authorities")
        timeouts = Timeouts(
            connect: try table.duration("connect-timeout", default: .seconds(30)),
            command: try table.duration("command-timeout", default: .minutes(5)),
            data: try table.duration("data-timeout", default: .minutes(3)),
            end: try table.duration("end-timeout", default: .minutes(10))
        )
        sourceV4 = try Self.source(table, "source-ipv4")
        sourceV6 = try Self.source(table, "source-ipv6")
        reuseTime = try table.duration("reuse-time", default: .seconds(5))
        reuseCount = try table.integer("reuse-count", default: 500, in: 1...1_000_000)
        hostConcurrency = try table.integer("host-concurrency", default: 20, in: 1...10_000)
        signs = try table.boolean("dkim", default: true)
        seals = try table.boolean("arc", default: true)
        let routes = try table.table("routes")
        for domain in routes.keys {
            guard let text = try routes.string(domain), let route = Self.route(text, port: port) else {
                throw routes.error(
                    domain,
                    "must be a host with a port such as \"mx.example.net:25\" or \"[2001:db8::1]:25\""
                )
            }
            guard self.routes.updateValue(route, forKey: domain.lowercased()) == nil else {
                throw routes.error(domain, "there is a route for this domain already")
            }
        }
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

    private static func route(_ text: String, port: Int) -> Route? {
        if let address = ConfigurationTable.address(text, port: port), let host = address.ipAddress {
            return Route(host: host, port: address.port ?? port)
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard var host = parts.first, parts.count <= 2 else { return nil }
        // Brackets that mean "no MX lookup" elsewhere; here there is none anyway.
        if host.first == "[", host.last == "]" { host = host.dropFirst().dropLast() }
        guard !host.isEmpty, !host.contains(where: { $0 == "[" || $0 == "]" }) else { return nil }
        guard parts.count == 2 else { return Route(host: String(host), port: port) }
        return Int(parts[1]).flatMap { (1...65535).contains($0) ? Route(host: String(host), port: $0) : nil }
    }
}
