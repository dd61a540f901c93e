import NIOCore

/// `[authd]`
package struct AuthdConfiguration: Sendable {
    package var users: String
    package var aliases: String

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        users = try table.string("users", default: "etc/users")
        aliases = try table.string("aliases", default: "etc/aliases")
    }
}
