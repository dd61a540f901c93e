/// Why a token is not accepted, or keys can't be used.
package enum JWTFault: Error, Equatable, CustomStringConvertible {
    /// No signed token in the compact form.
    case malformed
    /// Signed in a way that is not taken: `none`, a shared secret, or something unknown.
    case algorithm(String)
    /// It has extensions that must be understood and aren't (RFC 7515 §4.1.11).
    case critical
    /// Its `typ` says that it's something else than an access token.
    case kind(String)
    /// No key of the set is the one that the token names.
    case unknownKey
    case signature
    case issuer
    case audience
    case expired
    case notYet
    /// The claim is missing, or is no text.
    case claim(String)
    /// The claim says that nobody has looked whether it's true.
    case unverified(String)
    case scope
    /// The document with keys can't be used: why.
    case keys(String)

    package var description: String {
        switch self {
        case .malformed: "not a signed token"
        case .algorithm(let name): "signed by \(name), which is not taken"
        case .critical: "it has extensions that are not known"
        case .kind(let name): "a \(name), which is no access token"
        case .unknownKey: "no such key"
        case .signature: "the signature is wrong"
        case .issuer: "from another issuer"
        case .audience: "for somebody else"
        case .expired: "expired"
        case .notYet: "not valid yet"
        case .claim(let name): "no claim \(name)"
        case .unverified(let name): "the issuer did not verify \(name)"
        case .scope: "the scope does not cover mail"
        case .keys(let reason): reason
        }
    }
}
