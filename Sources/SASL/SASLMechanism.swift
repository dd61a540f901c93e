/// The server's side of one SASL mechanism (RFC 4422 §5) for one login, where the client says all that it has to say and
/// somebody else judges it: octets in, octets out. The base64 and the lines around them belong to the protocol that
/// carries it; who is right only authd knows. SCRAM, where authd itself answers the client, is `ScramServer`.
package protocol SASLMechanism: Sendable {
    init()

    /// The challenge where the client sent no initial response; empty for mechanisms where the client sends first.
    var firstChallenge: [UInt8] { get }

    /// Continues with the client's next response.
    mutating func respond(to response: [UInt8]) -> SASLStep

    /// What a client whose evidence was refused is told before the exchange fails; its answer doesn't matter. nil where it's
    /// told nothing.
    func refusal(_ hint: TokenHint) -> [UInt8]?
}

extension SASLMechanism {
    package func refusal(_ hint: TokenHint) -> [UInt8]? { nil }
}

/// What the server does after a response.
package enum SASLStep: Equatable, Sendable {
    /// Send the client this and await another response.
    case challenge([UInt8])
    /// The client has said who it is: have this verified.
    case evidence(SASLEvidence)
    /// The client wants to know where to get evidence, by `refusal`.
    case inquiry
    /// The mechanism does not accept the response.
    case malformed
}

/// The credentials that a client presented.
package enum SASLEvidence: Equatable, Sendable {
    case password(PasswordCredentials)
    case token(TokenCredentials)
    /// That of the connection. The client may say as whom it wants to act.
    case certificate(authorization: String?)

    /// The user that the client claims to be, for logs; empty where only the evidence says.
    package var user: String {
        switch self {
        case .password(let credentials): credentials.user
        case .token(let credentials): credentials.user ?? ""
        case .certificate(let authorization): authorization ?? ""
        }
    }
}

/// A user name and a password as the client gave them.
package struct PasswordCredentials: Equatable, Sendable {
    package var user: String
    package var password: String

    package init(user: String, password: String) {
        self.user = user
        self.password = password
    }

    /// From octets; nil where either is empty, longer than 1024 octets, not UTF-8, or holds NUL.
    package init?(user: some Collection<UInt8>, password: some Collection<UInt8>) {
        guard let user = SASLText.name(user), let password = SASLText.name(password) else { return nil }
        self.init(user: user, password: password)
    }
}

/// An access token (RFC 6750) and whose account is wanted.
package struct TokenCredentials: Equatable, Sendable {
    /// nil where the client leaves that to the token.
    package var user: String?
    package var token: String

    package init(user: String?, token: String) {
        self.user = user
        self.token = token
    }

    /// Octets of a token that are taken.
    package static let maximumToken = 8192
}

/// What a client is told that has no valid token (RFC 7628 §3.2.2).
package struct TokenHint: Equatable, Sendable {
    /// Where the provider describes itself (OpenID Connect Discovery); nil for unknown.
    package var configuration: String?
    /// What the token must allow; nil for nothing in particular.
    package var scope: String?

    package init(configuration: String? = nil, scope: String? = nil) {
        self.configuration = configuration
        self.scope = scope
    }

    func json(status: String) -> [UInt8] {
        var fields = [("status", status), ("schemes", "bearer")]
        if let scope { fields.append(("scope", scope)) }
        if let configuration { fields.append(("openid-configuration", configuration)) }
        return Array("{\(fields.map { "\"\($0.0)\":\"\(Self.escaped($0.1))\"" }.joined(separator: ","))}".utf8)
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars where scalar.value >= 0x20 {
            if scalar == "\"" || scalar == "\\" { escaped += "\\" }
            escaped.unicodeScalars.append(scalar)
        }
        return escaped
    }
}

/// Octets of clients as text.
enum SASLText {
    /// A name or a password; nil for an empty one, one of more than 1024 octets, or one that is not UTF-8 or holds NUL.
    static func name(_ octets: some Collection<UInt8>) -> String? {
        guard (1...1024).contains(octets.count), !octets.contains(0) else { return nil }
        return String(validating: octets, as: UTF8.self)
    }
}

/// The mechanisms with evidence. A new one is a name in `SASLMechanismName` and a type here, and every daemon has it.
package enum SASLMechanisms {
    /// Begins a login; nil for SCRAM.
    package static func begin(_ name: SASLMechanismName) -> (any SASLMechanism)? {
        switch name {
        case .plain: PlainMechanism()
        case .login: LoginMechanism()
        case .oauthBearer: OAuthBearerMechanism()
        case .xoauth2: XOAuth2Mechanism()
        case .external: ExternalMechanism()
        case .scramSHA1, .scramSHA1Plus, .scramSHA256, .scramSHA256Plus: nil
        }
    }
}
