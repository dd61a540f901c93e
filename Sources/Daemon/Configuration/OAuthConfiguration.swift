import NIOCore

/// `[authd.oauth]`: whose tokens are good for a login.
package struct OAuthConfiguration: Sendable {
    /// The file with the provider's keys, a JWK Set.
    package var keys: String
    /// The provider's name, as its tokens have it.
    package var issuer: String
    /// For whom tokens must be: one of these.
    package var audiences: [String]
    /// The claim that names the account.
    package var accountClaim: String
    /// Whether an account named by `email` needs `email_verified` beside it.
    package var needsVerifiedEmail: Bool
    /// What a token must allow; nil for nothing in particular.
    package var scope: String?
    /// By how much clocks may differ.
    package var leeway: TimeAmount
    /// Where the provider describes itself, for clients; nil for saying nothing.
    package var configurationURL: String?

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        keys = try table.string("keys", default: "etc/oauth-keys.json")
        guard let issuer = try table.string("issuer"), !issuer.isEmpty else {
            throw table.error("issuer", "is missing")
        }
        self.issuer = issuer
        audiences = try table.strings("audiences")
        guard !audiences.isEmpty else {
            throw table.error("audiences", "is missing: tokens for others must not be good here")
        }
        accountClaim = try table.string("account-claim", default: "email")
        guard !accountClaim.isEmpty else { throw table.error("account-claim", "must not be empty") }
        needsVerifiedEmail = try table.boolean("require-verified-email", default: true)
        scope = try table.string("scope")
        leeway = try table.duration("leeway", default: .seconds(60), in: .zero ... .minutes(10))
        configurationURL = try table.string("configuration-url")
    }
}
