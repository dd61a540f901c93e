import Cryptography

/// How a token is signed (RFC 7518 §3, RFC 8037): with keys whose holder alone can sign. `none` and the shared secrets of `HS256`
/// and its like are no names here, so that a token signed with them is none.
enum SignatureAlgorithm: String, Sendable, CaseIterable {
    case rs256 = "RS256"
    case rs384 = "RS384"
    case rs512 = "RS512"
    case ps256 = "PS256"
    case ps384 = "PS384"
    case ps512 = "PS512"
    case es256 = "ES256"
    case es384 = "ES384"
    case eddsa = "EdDSA"

    private var function: HashFunction? {
        switch self {
        case .rs256, .ps256, .es256: .sha256
        case .rs384, .ps384, .es384: .sha384
        case .rs512, .ps512: .sha512
        case .eddsa: nil
        }
    }

    /// Whether a key of that kind is signed with by this algorithm.
    func goes(with kind: KeyKind) -> Bool {
        switch (self, kind) {
        case (.rs256, .rsa), (.rs384, .rsa), (.rs512, .rsa), (.ps256, .rsa), (.ps384, .rsa), (.ps512, .rsa),
            (.es256, .ecdsaP256), (.es384, .ecdsaP384), (.eddsa, .ed25519), (.eddsa, .ed448):
            true
        default: false
        }
    }

    func isValid(_ signature: [UInt8], of message: [UInt8], by key: PublicKey) -> Bool {
        guard goes(with: key.kind) else { return false }
        let isPSS =
            switch self {
            case .ps256, .ps384, .ps512: true
            case .rs256, .rs384, .rs512, .es256, .es384, .eddsa: false
            }
        return key.isValid(signature: signature, of: message, using: function, isPSS: isPSS)
    }
}
