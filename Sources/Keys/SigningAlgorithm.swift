import Cryptography

/// How keyd signs: a signature scheme of TLS (RFC 8446 §4.2.3) or an algorithm of DKIM (RFC 6376, RFC 8463), by its name there.
package enum SigningAlgorithm: String, CaseIterable, Sendable {
    case rsaPSSWithSHA256 = "rsa_pss_rsae_sha256"
    case rsaPSSWithSHA384 = "rsa_pss_rsae_sha384"
    case rsaPSSWithSHA512 = "rsa_pss_rsae_sha512"
    case rsaWithSHA256 = "rsa_pkcs1_sha256"
    case rsaWithSHA384 = "rsa_pkcs1_sha384"
    case rsaWithSHA512 = "rsa_pkcs1_sha512"
    case ecdsaWithSHA256 = "ecdsa_secp256r1_sha256"
    case ecdsaWithSHA384 = "ecdsa_secp384r1_sha384"
    case ed25519 = "ed25519"
    case dkimRSA = "rsa-sha256"
    case dkimEd25519 = "ed25519-sha256"

    /// The number of a scheme of TLS; nil for DKIM's.
    package var scheme: UInt16? {
        switch self {
        case .rsaPSSWithSHA256: 0x0804
        case .rsaPSSWithSHA384: 0x0805
        case .rsaPSSWithSHA512: 0x0806
        case .rsaWithSHA256: 0x0401
        case .rsaWithSHA384: 0x0501
        case .rsaWithSHA512: 0x0601
        case .ecdsaWithSHA256: 0x0403
        case .ecdsaWithSHA384: 0x0503
        case .ed25519: 0x0807
        case .dkimRSA, .dkimEd25519: nil
        }
    }

    /// The scheme of TLS with that number; nil for one that isn't known.
    package init?(scheme: UInt16) {
        guard let known = Self.allCases.first(where: { $0.scheme == scheme }) else { return nil }
        self = known
    }

    /// Whose keys sign so.
    package var purpose: KeyName.Purpose { scheme == nil ? .dkim : .tls }

    /// What makes the digest that is signed; nil where the octets themselves are.
    package var digest: HashFunction? {
        switch self {
        case .rsaPSSWithSHA256, .rsaWithSHA256, .ecdsaWithSHA256, .dkimRSA: .sha256
        case .rsaPSSWithSHA384, .rsaWithSHA384, .ecdsaWithSHA384: .sha384
        case .rsaPSSWithSHA512, .rsaWithSHA512: .sha512
        case .ed25519, .dkimEd25519: nil
        }
    }

    package var isRSA: Bool { suits(.rsa) }

    package var padding: PrivateKey.Padding {
        switch self {
        case .rsaPSSWithSHA256, .rsaPSSWithSHA384, .rsaPSSWithSHA512: .pss
        default: .pkcs1
        }
    }

    /// Whether keys of a kind sign so. TLS 1.2 has any hash with any curve.
    package func suits(_ kind: KeyKind) -> Bool {
        switch self {
        case .rsaPSSWithSHA256, .rsaPSSWithSHA384, .rsaPSSWithSHA512, .rsaWithSHA256, .rsaWithSHA384, .rsaWithSHA512,
            .dkimRSA:
            kind == .rsa
        case .ecdsaWithSHA256, .ecdsaWithSHA384: kind == .ecdsaP256 || kind == .ecdsaP384
        case .ed25519, .dkimEd25519: kind == .ed25519
        }
    }
}
