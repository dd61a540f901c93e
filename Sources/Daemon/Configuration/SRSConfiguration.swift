/// `[srs]`: senders of what is forwarded to other hosts become addresses here, so that it passes SPF.
package struct SRSConfiguration: Sendable {
    /// The domain of such addresses, in lower case; nil where senders stay as they are.
    package var domain: String?
    /// The file with the secrets that they are made with, a line each: the first for new ones, the others are still believed.
    package var secrets: String

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        domain = try table.string("domain").map { $0.lowercased() }
        secrets = try table.string("secrets", default: "etc/srs.secrets")
        if let domain, !Configuration.isDomain(domain) {
            throw table.error("domain", "\"\(domain)\" is not a domain name")
        }
    }
}
