import Cryptography
import Encodings

/// What a server keeps of a password for one hash function (RFC 5802 §3): enough to recognise who knows the password and to show
/// that it was known here, not enough to log in elsewhere.
package struct ScramKeys: Equatable, Sendable {
    package let storedKey: [UInt8]
    package let serverKey: [UInt8]

    package init(storedKey: [UInt8], serverKey: [UInt8]) {
        self.storedKey = storedKey
        self.serverKey = serverKey
    }

    /// - Parameter password: prepared (`SASLPreparation`).
    /// - Returns: nil where the iterations can't be done.
    package init?(password: [UInt8], salt: [UInt8], iterations: Int, hash: ScramHash) {
        let function = hash.function
        guard let salted = PasswordDerivation.pbkdf2(password, salt: salt, iterations: iterations, using: function)
        else { return nil }
        let clientKey = MessageAuthentication.code(of: Array("Client Key".utf8), key: salted, using: function)
        storedKey = function.digest(of: clientKey)
        serverKey = MessageAuthentication.code(of: Array("Server Key".utf8), key: salted, using: function)
    }
}

/// The verifier of one password for all SCRAM mechanisms, with the salt and the iterations that the client needs.
package struct ScramVerifier: Equatable, Sendable {
    package let iterations: Int
    package let salt: [UInt8]
    package let sha1: ScramKeys
    package let sha256: ScramKeys

    /// What is taken from tables: fewer are no protection, more are too many for a telephone (RFC 7677 §4).
    package static let iterationRange = 4096...10_000_000

    /// Makes a verifier. Takes as long as the iterations make it: not for an event loop.
    ///
    /// - Returns: nil for a password that SASLprep doesn't allow.
    package init?(password: String, salt: [UInt8], iterations: Int) {
        guard let prepared = SASLPreparation.prepared(password),
            let sha1 = ScramKeys(password: prepared, salt: salt, iterations: iterations, hash: .sha1),
            let sha256 = ScramKeys(password: prepared, salt: salt, iterations: iterations, hash: .sha256)
        else { return nil }
        self.iterations = iterations
        self.salt = salt
        self.sha1 = sha1
        self.sha256 = sha256
    }

    package func keys(_ hash: ScramHash) -> ScramKeys {
        switch hash {
        case .sha1: sha1
        case .sha256: sha256
        }
    }

    // MARK: As text

    private static let scheme = "$scram$"

    /// `$scram$ITERATIONS$SALT$STORED,SERVER$STORED,SERVER`, in base64, SHA-1 before SHA-256.
    package var text: String {
        let pairs = [sha1, sha256].map { "\(Base64.text($0.storedKey)),\(Base64.text($0.serverKey))" }
        return "\(Self.scheme)\(iterations)$\(Base64.text(salt))$\(pairs.joined(separator: "$"))"
    }

    /// Reads what `text` says; nil for anything else.
    package init?(parsing text: some StringProtocol) {
        guard text.hasPrefix(Self.scheme) else { return nil }
        let parts = text.dropFirst(Self.scheme.count).split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 4, let iterations = Int(parts[0]), Self.iterationRange.contains(iterations),
            let salt = Base64.decode(parts[1].utf8), (8...64).contains(salt.count),
            let sha1 = Self.keys(parts[2], .sha1), let sha256 = Self.keys(parts[3], .sha256)
        else { return nil }
        self.iterations = iterations
        self.salt = salt
        self.sha1 = sha1
        self.sha256 = sha256
    }

    private static func keys(_ text: some StringProtocol, _ hash: ScramHash) -> ScramKeys? {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        let length = hash.function.digestLength
        guard parts.count == 2, let stored = Base64.decode(parts[0].utf8), let server = Base64.decode(parts[1].utf8),
            stored.count == length, server.count == length
        else { return nil }
        return ScramKeys(storedKey: stored, serverKey: server)
    }
}
