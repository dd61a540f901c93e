import Cryptography
import Encodings

/// Makes tokens and the keys of their issuer.
package struct TestToken {
    package let key: PrivateKey
    package var algorithm: String
    package var identifier: String?
    /// More of the header, each member with its comma in front.
    package var header: String

    package init(
        key: PrivateKey,
        algorithm: String = "ES256",
        identifier: String? = "k1",
        header: String = ""
    ) {
        self.key = key
        self.algorithm = algorithm
        self.identifier = identifier
        self.header = header
    }

    package static func encode(_ octets: some Collection<UInt8>) -> String {
        String(Base64.text(octets).compactMap { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 == "=" ? nil : $0 })
    }

    private var function: HashFunction? { algorithm == "EdDSA" ? nil : algorithm.hasSuffix("384") ? .sha384 : .sha256 }

    package func signed(_ claims: String) -> String {
        let kid = identifier.map { ",\"kid\":\"\($0)\"" } ?? ""
        let message =
            Self.encode("{\"alg\":\"\(algorithm)\"\(kid)\(header)}".utf8) + "." + Self.encode(claims.utf8)
        return message + "." + Self.encode(key.signature(of: Array(message.utf8), using: function))
    }

    /// The key as a member of a JWK Set.
    package func member(_ more: String = "") -> String {
        let kid = identifier.map { ",\"kid\":\"\($0)\"" } ?? ""
        guard let key = key.publicKey else { return "" }
        let raw = key.raw
        let half = raw.count / 2
        let values =
            switch key.kind {
            case .rsa:
                "\"kty\":\"RSA\",\"n\":\"\(Self.encode(key.rsaNumbers?.modulus ?? []))\","
                    + "\"e\":\"\(Self.encode(key.rsaNumbers?.exponent ?? []))\""
            case .ecdsaP256, .ecdsaP384:
                "\"kty\":\"EC\",\"crv\":\"\(key.kind == .ecdsaP256 ? "P-256" : "P-384")\","
                    + "\"x\":\"\(Self.encode(raw[..<half]))\",\"y\":\"\(Self.encode(raw[half...]))\""
            case .ed25519, .ed448:
                "\"kty\":\"OKP\",\"crv\":\"\(key.kind == .ed25519 ? "Ed25519" : "Ed448")\",\"x\":\"\(Self.encode(raw))\""
            }
        return "{\(values)\(kid)\(more)}"
    }

    package static func set(_ members: String...) -> [UInt8] {
        Array("{\"keys\":[\(members.joined(separator: ","))]}".utf8)
    }
}
