import ArgumentParser
import Daemon
import NIOCore

/// A server as people name it: `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1#5353`, `[2001:db8::1]:53`, `dns.example.net`;
/// `tls://192.0.2.1#dns.example.net`, `https://dns.example.net/dns-query`.
struct DNSServerAddress {
    /// What carries the questions.
    enum Transport: Equatable {
        /// UDP, and TCP.
        case plain
        /// DNS over TLS (RFC 7858).
        case tls
        /// DNS over HTTPS (RFC 8484), at a path.
        case https(path: String)

        /// Where servers listen.
        var port: Int {
            switch self {
            case .plain: 53
            case .tls: 853
            case .https: 443
            }
        }
    }

    var address: SocketAddress
    var transport: Transport
    /// What the server's certificate must be for: the name behind `#`, or the host as it was written.
    var name: String
    /// The host and the port as a URL has them.
    var authority: String

    private static let standardPath = "/dns-query"

    /// - Parameter standard: what is meant where the text doesn't say.
    init(_ text: String, standard: Transport = .plain) throws {
        var rest = Substring(text)
        transport = standard
        if rest.hasPrefix("tls://") {
            transport = .tls
            rest = rest.dropFirst(6)
        } else if rest.hasPrefix("https://") {
            transport = .https(path: Self.standardPath)
            rest = rest.dropFirst(8)
        }
        let parts = rest.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        var place = parts[0]
        var port: Int?
        var name: String?
        if parts.count == 2, transport == .plain {
            port = Int(parts[1]) ?? 0
        } else if parts.count == 2 {
            name = String(parts[1])
        }
        if case .https = transport, let slash = place.firstIndex(of: "/") {
            transport = .https(path: String(place[slash...]))
            place = place[..<slash]
        }
        guard port.map((1...65535).contains) ?? true else { throw ValidationError("\"\(text)\" has no port behind #") }
        guard name.map({ !$0.isEmpty }) ?? true, Self.isPath(transport),
            let found = Self.find(String(place), port: port ?? transport.port)
        else {
            throw ValidationError(
                "\"\(text)\" is not a server such as 192.0.2.1, [2001:db8::1]:53, dns.example.net, "
                    + "tls://192.0.2.1#dns.example.net or https://dns.example.net/dns-query"
            )
        }
        address = found.address
        self.name = name ?? found.host
        let host = self.name.contains(":") ? "[\(self.name)]" : self.name
        let isStandard = found.address.port == transport.port
        authority = isStandard ? host : "\(host):\(found.address.port ?? transport.port)"
    }

    private static func isPath(_ transport: Transport) -> Bool {
        guard case .https(let path) = transport else { return true }
        return path.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x3F }
    }

    /// An address, or the first of those that a name has, and the host without the port.
    private static func find(_ text: String, port: Int) -> (address: SocketAddress, host: String)? {
        if let address = ConfigurationTable.address(text, port: port) { return (address, address.ipAddress ?? text) }
        var (host, hostPort) = (text, port)
        if let colon = text.lastIndex(of: ":"), let number = Int(text[text.index(after: colon)...]) {
            hostPort = number
            host = String(text[..<colon])
        }
        guard !host.isEmpty, (1...65535).contains(hostPort),
            let address = try? SocketAddress.makeAddressResolvingHost(host, port: hostPort)
        else { return nil }
        return (address, host)
    }
}
