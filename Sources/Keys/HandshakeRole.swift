import Cryptography

/// Whose part of a handshake a signature is for. What TLS signs says so itself: keyd signs nothing else with keys of TLS.
package enum HandshakeRole: Equatable, Sendable {
    case server
    case client

    /// What a handshake of TLS 1.3 signs (RFC 8446 §4.4.3), a server's key exchange of TLS 1.2 (RFC 8422 §5.4), or all messages of a
    /// handshake of TLS 1.2 up to a client's key exchange (RFC 5246 §7.4.8).
    ///
    /// - Returns: nil for what TLS doesn't sign, or not so.
    package init?(signing octets: [UInt8], by algorithm: SigningAlgorithm) {
        guard algorithm.purpose == .tls else { return nil }
        if octets.starts(with: Self.padding) {
            // TLS 1.3 has no PKCS #1 here.
            guard algorithm.padding == .pss || !algorithm.isRSA else { return nil }
            let rest = octets.dropFirst(Self.padding.count)
            guard let role = Self.contexts.first(where: { rest.starts(with: $0.octets) }),
                [32, 48].contains(rest.count - role.octets.count)
            else { return nil }
            self = role.role
        } else if Self.isKeyExchange(octets) {
            self = .server
        } else if Self.isTranscript(octets) {
            self = .client
        } else {
            return nil
        }
    }

    private static let padding = [UInt8](repeating: 0x20, count: 64)
    private static let contexts: [(role: Self, octets: [UInt8])] = [
        (.server, Array("TLS 1.3, server CertificateVerify\0".utf8)),
        (.client, Array("TLS 1.3, client CertificateVerify\0".utf8)),
    ]

    /// Curves of RFC 8422 §5.1.1, with the octets of their public keys.
    private static let curves: [UInt16: Int] = [23: 65, 24: 97, 25: 133, 29: 32, 30: 56]
    /// Octets of the two random values in front.
    private static let randoms = 64

    private static func isKeyExchange(_ octets: [UInt8]) -> Bool {
        guard octets.count > randoms + 4, octets[randoms] == 3 else { return false }
        let curve = UInt16(octets[randoms + 1]) << 8 | UInt16(octets[randoms + 2])
        guard let length = curves[curve] else { return false }
        return Int(octets[randoms + 3]) == length && octets.count == randoms + 4 + length
    }

    /// The messages that a client's CertificateVerify stands behind: its hello is the first, and its key exchange, after both
    /// sides' certificates, the last.
    private static func isTranscript(_ octets: [UInt8]) -> Bool {
        // More than any key exchange has, so that nothing is both.
        guard octets.count > 256 else { return false }
        var types: [UInt8] = []
        var rest = octets[...]
        while rest.count >= 4, types.count < 16 {
            let head = Array(rest.prefix(4))
            let count = Int(head[1]) << 16 | Int(head[2]) << 8 | Int(head[3])
            guard rest.count >= 4 + count else { return false }
            types.append(head[0])
            rest = rest.dropFirst(4 + count)
        }
        // ClientHello, ServerHello, Certificate, CertificateRequest, ServerHelloDone, Certificate, ClientKeyExchange.
        let required: [UInt8] = [1, 2, 11, 13, 14, 11, 16]
        var missing = required[...]
        for type in types where type == missing.first { missing = missing.dropFirst() }
        return rest.isEmpty && missing.isEmpty && types.first == 1 && types.last == 16
    }
}
