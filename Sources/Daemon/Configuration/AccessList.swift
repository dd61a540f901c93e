import DNS
import NIOCore
import Network

/// Who may do something with a zone: clients in networks, and those who sign with keys. Empty for nobody.
package struct AccessList: Hashable, Sendable {
    package var networks: [AddressRange] = []
    /// Names of keys (RFC 8945).
    package var keys: Set<DomainName> = []

    package init() {}

    /// What a list in the configuration says: networks such as `192.0.2.0/24`, single addresses, and `key NAME`.
    init(_ table: ConfigurationTable, _ key: String) throws(ConfigurationError) {
        for text in try table.strings(key) {
            if let range = AddressRange(text) {
                networks.append(range)
            } else if let name = try table.keyName(text, key) {
                keys.insert(name)
            } else {
                throw table.error(
                    key,
                    "\"\(text)\" is neither a network such as 192.0.2.0/24 or 2001:db8::/32 nor a key such as \"key NAME\""
                )
            }
        }
    }

    /// Whether a client is in the list.
    ///
    /// - Parameters:
    ///   - address: the client's address in network order; nil for a program on this machine that came by a Unix-domain
    ///     socket, which counts as one at a loopback address.
    ///   - signer: the key that its message was signed with; nil for none.
    package func allows(_ address: [UInt8]?, signer: DomainName?) -> Bool {
        if let signer, keys.contains(signer) { return true }
        guard let address else { return Self.loopback.contains { holds($0) } }
        return holds(address)
    }

    private func holds(_ address: [UInt8]) -> Bool { networks.contains { $0.contains(address) } }

    private static let loopback: [[UInt8]] = [[127, 0, 0, 1], [UInt8](repeating: 0, count: 15) + [1]]
}

extension ConfigurationTable {
    /// The name in `key NAME`; nil for a text of another form.
    ///
    /// - Throws: where it's not a domain name.
    func keyName(_ text: String, _ key: String) throws(ConfigurationError) -> DomainName? {
        let words = text.split(separator: " ")
        guard words.count == 2, words[0] == "key" else { return nil }
        return try name(String(words[1]), key)
    }

    /// A domain name in a setting.
    func name(_ text: String, _ key: String) throws(ConfigurationError) -> DomainName {
        do {
            return try DomainName(text)
        } catch {
            throw self.error(key, "\"\(text)\" is not a domain name (\(error))")
        }
    }
}
