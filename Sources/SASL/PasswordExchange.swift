/// A user name and a password as the client gave them.
package struct PasswordCredentials: Equatable, Sendable {
    package var user: String
    package var password: String

    package init(user: String, password: String) {
        self.user = user
        self.password = password
    }
}

/// The server's side of the SASL mechanisms PLAIN (RFC 4616) and LOGIN, without their base64.
package enum PasswordExchange: Equatable, Sendable {
    /// What the server does next.
    package enum Step: Equatable, Sendable {
        /// Ask the client, with this text.
        case challenge(String)
        case credentials(PasswordCredentials)
        /// The answer is not what the mechanism wants.
        case malformed
    }

    case plain
    /// The user name, once it is known.
    case login(user: String?)

    /// The exchange of a mechanism, by its name in capitals; nil for one that is not offered.
    package init?(mechanism: String) {
        switch mechanism {
        case "PLAIN": self = .plain
        case "LOGIN": self = .login(user: nil)
        default: return nil
        }
    }

    /// What is asked where the client sent no initial response.
    package var firstChallenge: String {
        switch self {
        case .plain: ""
        case .login: "Username:"
        }
    }

    /// Takes the client's next answer.
    package mutating func take(_ response: [UInt8]) -> Step {
        switch self {
        case .plain:
            return Self.plain(response)
        case .login(nil):
            guard let user = Self.text(response[...]) else { return .malformed }
            self = .login(user: user)
            return .challenge("Password:")
        case .login(let user?):
            guard let password = Self.text(response[...]) else { return .malformed }
            return .credentials(PasswordCredentials(user: user, password: password))
        }
    }

    /// `[authzid] NUL authcid NUL passwd`. Acting for somebody else is not supported.
    private static func plain(_ response: [UInt8]) -> Step {
        let parts = response.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let user = text(parts[1]), let password = text(parts[2]) else { return .malformed }
        guard parts[0].isEmpty || parts[0] == parts[1] else { return .malformed }
        return .credentials(PasswordCredentials(user: user, password: password))
    }

    private static func text(_ octets: ArraySlice<UInt8>) -> String? {
        guard (1...1024).contains(octets.count), !octets.contains(0) else { return nil }
        return String(validating: octets, as: UTF8.self)
    }
}
