import NIOCore

/// A server to forward questions to, and how it's spoken to: `192.0.2.1`, `tcp://192.0.2.1`,
/// `tls://192.0.2.1:853#dns.example`.
package struct ForwarderAddress: Hashable, Sendable, CustomStringConvertible {
    /// What carries the questions.
    package enum Transport: String, Sendable {
        /// UDP, and TCP for what is too large.
        case udp
        case tcp
        /// DNS over TLS (RFC 7858), and nothing else.
        case tls

        /// Where servers listen.
        var port: Int { self == .tls ? 853 : 53 }
    }

    package var address: SocketAddress
    package var transport: Transport
    /// What its certificate must be for (RFC 8310 §8.1); its address where nil.
    package var name: String?

    package init(_ address: SocketAddress, transport: Transport = .udp, name: String? = nil) {
        self.address = address
        self.transport = transport
        self.name = name
    }

    /// nil for what isn't one.
    package init?(_ text: String) {
        var rest = Substring(text)
        transport = .udp
        for transport in [Transport.tcp, .tls] where text.hasPrefix("\(transport.rawValue)://") {
            self.transport = transport
            rest = rest.dropFirst(transport.rawValue.utf8.count + 3)
        }
        if transport == .tls, let hash = rest.firstIndex(of: "#") {
            let name = rest[rest.index(after: hash)...]
            guard Self.isHostName(name) else { return nil }
            self.name = String(name)
            rest = rest[..<hash]
        }
        guard let address = ConfigurationTable.address(String(rest), port: transport.port) else { return nil }
        self.address = address
    }

    private static func isHostName(_ name: Substring) -> Bool {
        (1...253).contains(name.utf8.count)
            && name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { label in
                (1...63).contains(label.count)
                    && label.allSatisfy { octet in
                        octet == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet)
                            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(octet | 0x20)
                    }
            }
    }

    /// As the configuration writes it, with the port; without TCP's or TLS's prefix for UDP.
    package var description: String {
        let host = address.ipAddress ?? ""
        let place = "\(address.protocol == .inet6 ? "[\(host)]" : host):\(address.port ?? transport.port)"
        return (transport == .udp ? "" : "\(transport.rawValue)://") + place + (name.map { "#\($0)" } ?? "")
    }
}

extension ConfigurationTable {
    /// Servers to forward to.
    func forwarders(_ key: String) throws(ConfigurationError) -> [ForwarderAddress] {
        var forwarders: [ForwarderAddress] = []
        for text in try strings(key) {
            guard let forwarder = ForwarderAddress(text) else {
                throw error(
                    key,
                    "\"\(text)\" is not a server such as 192.0.2.1, tcp://192.0.2.1:53 or tls://192.0.2.1#dns.example"
                )
            }
            forwarders.append(forwarder)
        }
        return forwarders
    }
}
