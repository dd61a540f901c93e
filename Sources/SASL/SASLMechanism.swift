/// The server's side of one SASL mechanism (RFC 4422 §5) for one login: octets in, octets out. The base64 and the
/// lines around them belong to the protocol that carries it; who is right only authd knows.
package protocol SASLMechanism: Sendable {
    /// The registered name, in capitals.
    static var name: String { get }

    init()

    /// The challenge where the client sent no initial response; empty for mechanisms where the client sends first.
    var firstChallenge: [UInt8] { get }

    /// Continues with the client's next response.
    mutating func respond(to response: [UInt8]) -> SASLStep
}

/// What the server does after a response.
package enum SASLStep: Equatable, Sendable {
    /// Send the client this and await another response.
    case challenge([UInt8])
    /// The client has said who it is: have this verified.
    case evidence(SASLEvidence)
    /// The mechanism does not accept the response.
    case malformed
}

/// The credentials that a client presented.
package enum SASLEvidence: Equatable, Sendable {
    case password(PasswordCredentials)

    /// The user that the client claims to be, for logs.
    package var user: String {
        switch self {
        case .password(let credentials): credentials.user
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
        guard let user = Self.text(user), let password = Self.text(password) else { return nil }
        self.init(user: user, password: password)
    }

    static func text(_ octets: some Collection<UInt8>) -> String? {
        guard (1...1024).contains(octets.count), !octets.contains(0) else { return nil }
        return String(validating: octets, as: UTF8.self)
    }
}

/// The mechanisms that are offered, in the order in which clients are told. A new one is added here, and every daemon
/// has it. All of them may only be used where nobody else can listen, since the server sees the password.
package enum SASLMechanisms {
    private static let offered: [any SASLMechanism.Type] = [PlainMechanism.self, LoginMechanism.self]

    /// Their names.
    package static let names: [String] = offered.map { $0.name }

    /// Begins a login by a mechanism, by its name in capitals; nil for one that is not offered.
    package static func begin(_ name: String) -> (any SASLMechanism)? { offered.first { $0.name == name }?.init() }
}
