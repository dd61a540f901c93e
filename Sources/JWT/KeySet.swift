import Cryptography
import FoundationEssentials

/// The keys by which a provider signs its tokens: a JWK Set (RFC 7517 §5).
package struct KeySet: Sendable {
    struct Key: Sendable {
        let identifier: String?
        /// The one algorithm that the key is for; nil for any that goes with it.
        let algorithm: String?
        let key: PublicKey
    }

    let keys: [Key]

    /// Octets of a document. Providers' have a few kilobytes.
    package static let maximumOctets = 1 << 20
    private static let maximumKeys = 256
    /// Smaller keys of RSA are no protection (RFC 7518 §3.3).
    private static let leastModulus = 2048

    /// Reads a document. Keys of kinds that aren't known, for encryption, or for something else than signatures are passed over
    /// (RFC 7517 §5).
    ///
    /// - Throws: `JWTFault.keys` where it's no JWK Set, or has no key that can be used.
    package init(json: [UInt8]) throws(JWTFault) {
        guard json.count <= Self.maximumOctets, !json.contains(0) else { throw .keys("not a JWK Set") }
        let document: Document
        do {
            document = try JSONDecoder().decode(Document.self, from: Data(json))
        } catch {
            throw .keys("not a JWK Set")
        }
        guard document.keys.count <= Self.maximumKeys else { throw .keys("more than \(Self.maximumKeys) keys") }
        keys = document.keys.compactMap(Self.key)
        guard !keys.isEmpty else { throw .keys("no key for RS256, PS256, ES256, EdDSA or their like") }
    }

    /// How many keys can be used.
    package var count: Int { keys.count }

    private struct Document: Decodable {
        let keys: [Member]
    }

    /// What is missing or of another type is as if it weren't there.
    private struct Member: Decodable {
        private enum Name: String, CodingKey {
            case kty, use, alg, kid, crv, x, y, n, e
        }

        private var texts: [String: String] = [:]

        init(from decoder: any Decoder) throws {
            guard let container = try? decoder.container(keyedBy: Name.self) else { return }
            for name in container.allKeys {
                if let text = try? container.decode(String.self, forKey: name) { texts[name.rawValue] = text }
            }
        }

        subscript(name: String) -> String? { texts[name] }

        func octets(_ name: String) -> [UInt8]? { texts[name].flatMap { Base64URL.decode($0.utf8) } }
    }

    private static func key(_ member: Member) -> Key? {
        if let use = member["use"], use != "sig" { return nil }
        let key: PublicKey?
        switch (member["kty"], member["crv"]) {
        case ("RSA", _):
            guard let modulus = member.octets("n"), let exponent = member.octets("e") else { return nil }
            key = PublicKey(rsaModulus: modulus, exponent: exponent).flatMap { $0.bits >= leastModulus ? $0 : nil }
        case ("EC", "P-256"): key = point(member, .ecdsaP256, width: 32)
        case ("EC", "P-384"): key = point(member, .ecdsaP384, width: 48)
        case ("OKP", "Ed25519"): key = member.octets("x").flatMap { PublicKey(.ed25519, raw: $0) }
        case ("OKP", "Ed448"): key = member.octets("x").flatMap { PublicKey(.ed448, raw: $0) }
        default: key = nil
        }
        return key.map { Key(identifier: member["kid"], algorithm: member["alg"], key: $0) }
    }

    private static func point(_ member: Member, _ kind: KeyKind, width: Int) -> PublicKey? {
        guard let x = member.octets("x"), let y = member.octets("y"), x.count == width, y.count == width else {
            return nil
        }
        return PublicKey(kind, raw: x + y)
    }
}
