/// The mechanisms that servers here know, by their registered names, in the order in which clients are told: many take
/// the first that they know.
package enum SASLMechanismName: String, CaseIterable, Sendable {
    case scramSHA256Plus = "SCRAM-SHA-256-PLUS"
    case scramSHA1Plus = "SCRAM-SHA-1-PLUS"
    case scramSHA256 = "SCRAM-SHA-256"
    case scramSHA1 = "SCRAM-SHA-1"
    case oauthBearer = "OAUTHBEARER"
    case xoauth2 = "XOAUTH2"
    case external = "EXTERNAL"
    case plain = "PLAIN"
    case login = "LOGIN"

    /// What the server needs for a mechanism, beside a connection that nobody can listen to.
    package enum Need: Sendable {
        /// A password, which the server sees.
        case password
        /// A verifier of the password; the server never sees the password.
        case scram(ScramMechanism)
        /// An access token of somebody whom the server trusts.
        case token
        /// A certificate that the client has shown.
        case certificate
    }

    package var need: Need {
        switch self {
        case .scramSHA256Plus: .scram(ScramMechanism(.sha256, isPlus: true))
        case .scramSHA1Plus: .scram(ScramMechanism(.sha1, isPlus: true))
        case .scramSHA256: .scram(ScramMechanism(.sha256, isPlus: false))
        case .scramSHA1: .scram(ScramMechanism(.sha1, isPlus: false))
        case .oauthBearer, .xoauth2: .token
        case .external: .certificate
        case .plain, .login: .password
        }
    }
}
