import NIOCore
import SASL

/// `[authd]`
package struct AuthdConfiguration: Sendable {
    /// The table of users.
    package var users: String
    /// The table of aliases.
    package var aliases: String
    /// Passwords that are verified at the same time. Each argon2id hash takes 19 MiB meanwhile.
    package var threads: Int
    /// Logins that may wait; more are deferred with 4.7.0.
    package var maximumWaiting: Int
    /// How long a client waits after one failed login; doubles with each.
    package var failureDelay: TimeAmount
    package var maximumFailureDelay: TimeAmount
    /// The table of app passwords.
    package var appPasswords: String
    /// The table of certificates whose own names don't say whose they are.
    package var certificates: String
    /// How often a SCRAM client hashes a password.
    package var scramIterations: Int
    /// nil where no provider's tokens are taken.
    package var oauth: OAuthConfiguration?

    /// Where authd keeps what it writes, relative to the instance.
    package static let stateDirectory = "auth"

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        users = try table.string("users", default: "etc/users")
        aliases = try table.string("aliases", default: "etc/aliases")
        appPasswords = try table.string("app-passwords", default: "etc/app-passwords")
        certificates = try table.string("certificates", default: "etc/certificates")
        scramIterations = try table.integer("scram-iterations", default: 65_536, in: ScramVerifier.iterationRange)
        if table.isTable("oauth") { oauth = try OAuthConfiguration(try table.table("oauth")) }
        threads = try table.integer("threads", default: 2, in: 1...64)
        maximumWaiting = try table.integer("maximum-waiting", default: 200, in: 1...100_000)
        failureDelay = try table.duration("failure-delay", default: .milliseconds(500), in: .zero ... .seconds(20))
        maximumFailureDelay = try table.duration(
            "maximum-failure-delay",
            default: .seconds(8),
            in: .zero ... .seconds(20)
        )
    }
}
