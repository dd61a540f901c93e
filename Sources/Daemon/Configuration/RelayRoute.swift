import NIOCore
import SMTP

/// Where mail goes instead of to the MX hosts of its domain.
package enum RelayRoute: Sendable, Hashable {
    /// To hosts, in this order.
    case hosts(RelayHosts)
    /// Nowhere: it counts as delivered.
    case discard
    /// To a program, by its name in `[pipe-deliver.commands]`.
    case pipe(String)
    /// Back to its sender, or into the queue again where the status is one of 4.
    case error(EnhancedStatusCode, String)

    /// `"host:port"`, or a table with `hosts` or `action`.
    init(_ key: String, in table: ConfigurationTable, port: Int) throws(ConfigurationError) {
        guard table.isTable(key) else {
            guard let text = try table.string(key), let host = RelayHost(text, port: port) else {
                throw table.error(
                    key,
                    "must be a host with a port such as \"mx.example.net:25\" or \"[2001:db8::1]:25\", or a table"
                )
            }
            self = .hosts(RelayHosts([host]))
            return
        }
        let route = try table.table(key)
        switch try route.choice("action", default: Action.relay) {
        case .relay: self = .hosts(try RelayHosts(route, port: port))
        case .discard: self = .discard
        case .pipe:
            guard let name = try route.string("command") else { throw route.error("command", "is missing") }
            self = .pipe(name)
        case .error:
            let text = try route.string("text", default: "mail is not taken for this address")
            guard !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f }) else {
                throw route.error("text", "must be one line")
            }
            let status = try route.string("status", default: "5.1.2")
            guard let code = EnhancedStatusCode(parsing: status.utf8), code.statusClass != 2 else {
                throw route.error("status", "must be a status such as \"5.1.2\" or \"4.3.2\"")
            }
            self = .error(code, text)
        }
    }

    private enum Action: String, CaseIterable {
        case relay
        case discard
        case pipe
        case error
    }
}

/// The hosts of a route, and how to talk to them.
package struct RelayHosts: Sendable, Hashable {
    package enum Language: String, Sendable, CaseIterable {
        case smtp
        /// RFC 2033.
        case lmtp
    }

    /// Never empty.
    package var hosts: [RelayHost]
    package var language = Language.smtp
    /// Whether TLS begins with the first octet (RFC 8314 §3.3).
    package var isImplicitTLS = false
    /// nil for what the destination's rule says.
    package var tls: RelayTLSRule?
    /// The name of what to log in with, in the file of credentials.
    package var credentials: String?

    package init(_ hosts: [RelayHost]) { self.hosts = hosts }

    init(_ table: ConfigurationTable, port: Int) throws(ConfigurationError) {
        language = try table.choice("protocol", default: .smtp)
        isImplicitTLS = try table.boolean("implicit-tls", default: false)
        hosts = []
        let texts = try table.strings("hosts")
        guard !texts.isEmpty else { throw table.error("hosts", "is missing") }
        for text in texts {
            guard let host = RelayHost(text, port: isImplicitTLS ? 465 : port) else {
                throw table.error("hosts", "\"\(text)\" is not a host with a port such as \"mx.example.net:25\"")
            }
            guard language == .lmtp || host.socket == nil else {
                throw table.error("hosts", "only LMTP goes over a socket of this machine")
            }
            hosts.append(host)
        }
        if table.keys.contains("tls") { tls = try RelayTLSRule("tls", in: table) }
        credentials = try table.string("credentials")
        if credentials != nil, let level = tls?.level, [.none, .may].contains(level) {
            throw table.error("tls", "secrets go over TLS alone: at least \"encrypt\"")
        }
        let isLocal = hosts.allSatisfy { $0.socket != nil }
        if isImplicitTLS || tls.map({ $0.level != .none }) ?? false, isLocal {
            throw table.error("hosts", "there is no TLS on a socket of this machine")
        }
        if isImplicitTLS, tls?.level == RelayTLSRule.Level.none {
            throw table.error("tls", "contradicts implicit-tls")
        }
    }
}

/// A host of a route: a name or an address with a port, or a socket of this machine.
package struct RelayHost: Sendable, Hashable {
    /// A name, or an address as text; empty for a socket.
    package let host: String
    package let port: Int
    /// The path of a Unix-domain socket beneath `run/`.
    package let socket: String?

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
        socket = nil
    }

    /// `host`, `host:port`, `[address]:port`, `run/name.sock`.
    init?(_ text: String, port: Int) {
        if text.hasPrefix("run/") {
            let name = text.dropFirst(4)
            guard !name.isEmpty, !name.contains("/"), name != "..", name != ".", !name.utf8.contains(0) else {
                return nil
            }
            host = ""
            self.port = 0
            socket = String(name)
            return
        }
        socket = nil
        if let address = ConfigurationTable.address(text, port: port), let ip = address.ipAddress {
            self.host = ip
            self.port = address.port ?? port
            return
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard var host = parts.first, parts.count <= 2 else { return nil }
        // Brackets that mean "no MX lookup" elsewhere; here there is none anyway.
        if host.first == "[", host.last == "]" { host = host.dropFirst().dropLast() }
        guard !host.isEmpty, !host.contains(where: { $0 == "[" || $0 == "]" || $0 == "/" }) else { return nil }
        self.host = String(host)
        guard parts.count == 2 else {
            self.port = port
            return
        }
        guard let number = Int(parts[1]), (1...65535).contains(number) else { return nil }
        self.port = number
    }
}
