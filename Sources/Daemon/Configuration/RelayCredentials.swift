import SASL

/// What remote-relay logs in with at other hosts: a file of its own with a table for each name, so that `etc/martlet.toml` holds no secret.
package struct RelayCredentials: Sendable, Equatable {
    package enum Secret: Sendable, Equatable {
        case password(String)
        /// An access token (RFC 6750).
        case token(String)
    }

    package let user: String
    package let secret: Secret
    /// The one mechanism to use; nil for the best that the host offers.
    package let mechanism: SASLMechanismName?

    package init(user: String, secret: Secret, mechanism: SASLMechanismName? = nil) {
        self.user = user
        self.secret = secret
        self.mechanism = mechanism
    }

    /// Those that go with a secret, the best one first.
    package static func mechanisms(for secret: Secret) -> [SASLMechanismName] {
        switch secret {
        case .password: [.scramSHA256, .scramSHA1, .plain, .login]
        case .token: [.oauthBearer, .xoauth2]
        }
    }

    /// Reads the file.
    ///
    /// - Returns: what there is, by name.
    /// - Throws: what is wrong with it, with its line.
    package static func parse(_ text: String, file: String) throws(ConfigurationError) -> [String: RelayCredentials] {
        let root: ConfigurationTable
        do {
            root = ConfigurationTable(try TOMLDocument.parse(text), file: file)
        } catch {
            throw ConfigurationError(file: file, line: error.line, reason: error.reason)
        }
        var all: [String: RelayCredentials] = [:]
        for name in root.keys { all[name] = try RelayCredentials(try root.table(name)) }
        try root.finish()
        return all
    }

    private init(_ table: ConfigurationTable) throws(ConfigurationError) {
        guard let user = try table.string("user"), PasswordCredentials(user: user.utf8, password: "x".utf8) != nil
        else {
            throw table.error("user", "is missing, or none")
        }
        self.user = user
        switch (try table.string("password"), try table.string("token")) {
        case (let password?, nil):
            guard PasswordCredentials(user: user.utf8, password: password.utf8) != nil else {
                throw table.error("password", "is none")
            }
            secret = .password(password)
        case (nil, let token?):
            guard (1...TokenCredentials.maximumToken).contains(token.utf8.count),
                token.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
            else { throw table.error("token", "is none") }
            secret = .token(token)
        default: throw table.error("password", "there must be either a password or a token")
        }
        guard let text = try table.string("mechanism") else {
            mechanism = nil
            return
        }
        let fitting = Self.mechanisms(for: secret)
        guard let name = SASLMechanismName(rawValue: text.uppercased()), fitting.contains(name) else {
            let names = fitting.map(\.rawValue).joined(separator: ", ")
            throw table.error("mechanism", "must be one of \(names)")
        }
        mechanism = name
    }
}
