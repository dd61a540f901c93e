import Bus
import Cryptography
import Encodings
import NIOCore
import TLS

/// A certificate that servers show, or remote-relay to other hosts, and the name of the key that signs for it.
package struct ServedCertificate: Equatable, Sendable {
    package let chain: CertificateChain
    package let kind: KeyKind
    package let key: KeyName
    /// What the authority's OCSP server said of it (RFC 6960), DER; nil where there is nothing.
    package var ocsp: [UInt8]?
    /// The NAME of its `[tls.pairs.NAME]`; nil where nobody has said it.
    package var pair: String?

    /// Octets of a response.
    package static let maximumOCSP = 32 * 1024
    private static let verb = "CERTIFICATE"

    /// - Returns: nil for a key of a kind that no scheme signs with.
    package init?(chain: CertificateChain, ocsp: [UInt8]? = nil) {
        guard let key = PublicKey(subjectPublicKeyInfo: chain.subjectPublicKeyInfo), key.kind != .ed448 else {
            return nil
        }
        self.chain = chain
        self.ocsp = ocsp
        kind = key.kind
        self.key = KeyName(.tls, subjectPublicKeyInfo: chain.subjectPublicKeyInfo)
    }

    /// As keyd says it; nil for another frame, and for one that can't be used.
    package init?(_ frame: Frame) {
        guard frame.verb == Self.verb || frame.replyKind == .ok, let body = frame.body,
            let chain = try? CertificateChain(pem: Array(body.readableBytesView)),
            var own = Self(chain: chain, ocsp: frame["ocsp"].flatMap { Base64.decode($0.utf8) }),
            frame["key"] == own.key.description
        else { return nil }
        own.pair = frame["pair"]
        self = own
    }

    /// - Parameter verb: another one than the usual.
    package func frame(verb: String? = nil, tag: String?) -> Frame {
        var frame = Frame(verb ?? Self.verb)
        if let tag { frame["tag"] = tag }
        frame["key"] = key.description
        frame.fields += SigningAlgorithm.allCases.filter { $0.purpose == .tls && $0.suits(kind) }.map {
            .init("scheme", $0.rawValue)
        }
        frame.fields += chain.names.map { .init("server-name", $0) }
        frame["expires"] = String(chain.expires)
        if let pair { frame["pair"] = pair }
        if let ocsp { frame["ocsp"] = Base64.text(ocsp) }
        frame.body = ByteBuffer(bytes: chain.pem)
        return frame
    }

    /// Whether it's for a host (RFC 6125 §6.4): `*` stands for one label.
    ///
    /// - Parameter name: in lower case.
    package func isFor(_ name: String) -> Bool {
        if chain.names.contains(name) { return true }
        guard let dot = name.firstIndex(of: ".") else { return false }
        return chain.names.contains("*" + name[dot...])
    }

    /// Those that a client is shown, one for each kind of key, the preferred first: those for the server that it named; where it
    /// named none or there are none, those for the server itself; where there are none either, the first one.
    ///
    /// - Parameter hostname: the server's own name.
    package static func shown(to client: String?, of certificates: [Self], hostname: String) -> [Self] {
        for name in [client, hostname].compactMap({ $0?.lowercased() }).map(withoutDot) {
            let matching = certificates.filter { $0.isFor(name) }
            // A certificate that names the host goes before one with a wildcard.
            let exact = matching.filter { $0.chain.names.contains(name) }
            let chosen = one(ofEachKind: exact + matching)
            if !chosen.isEmpty { return chosen }
        }
        return Array(certificates.prefix(1))
    }

    /// Clients leave the dot of the root away (RFC 6066 §3), but not all of them.
    private static func withoutDot(_ name: String) -> String { name.hasSuffix(".") ? String(name.dropLast()) : name }

    /// OpenSSL has one place for EC, whatever the curve.
    private static func one(ofEachKind certificates: [Self]) -> [Self] {
        var kinds: Set<KeyKind> = []
        return certificates.filter { kinds.insert($0.kind == .ecdsaP384 ? .ecdsaP256 : $0.kind).inserted }
    }
}
