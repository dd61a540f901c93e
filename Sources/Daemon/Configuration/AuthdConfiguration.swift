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
    /// The table of addresses that users may send from beside their own.
    package var senders: String
    package var sending: SendingConfiguration
    package var greylist: GreylistConfiguration
    /// Whether mail for users who are disabled is refused.
    package var refuseDisabled: Bool
    /// What may stand between a user's name and an extension: `+` in `user+extension`.
    package var subaddressDelimiters: String
    /// nil where no provider's tokens are taken.
    package var oauth: OAuthConfiguration?

    /// Where authd keeps what it writes, relative to the instance.
    package static let stateDirectory = "auth"

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        users = try table.string("users", default: "etc/users")
        aliases = try table.string("aliases", default: "etc/aliases")
        appPasswords = try table.string("app-passwords", default: "etc/app-passwords")
        certificates = try table.string("certificates", default: "etc/certificates")
        senders = try table.string("senders", default: "etc/senders")
        refuseDisabled = try table.boolean("refuse-disabled", default: false)
        sending = try SendingConfiguration(try table.table("sending"))
        greylist = try GreylistConfiguration(try table.table("greylist"))
        subaddressDelimiters = try table.string("subaddress-delimiters", default: "+")
        guard subaddressDelimiters.utf8.count <= 8, subaddressDelimiters.utf8.allSatisfy(Self.mayDelimit) else {
            throw table.error("subaddress-delimiters", "must be characters such as \"+\" or \"+-\"")
        }
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

    /// Of the characters of an atom (RFC 5322 §3.2.3) those that names of users rarely have.
    private static func mayDelimit(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."): false
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "/"),
            UInt8(ascii: "="), UInt8(ascii: "?"), UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"),
            UInt8(ascii: "{"), UInt8(ascii: "|"), UInt8(ascii: "}"), UInt8(ascii: "~"):
            true
        default: false
        }
    }
}
