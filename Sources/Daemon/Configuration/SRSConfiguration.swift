/// `[srs]`: senders of what is forwarded to other hosts become addresses here, so that it passes SPF.
package struct SRSConfiguration: Sendable {
    /// The domain of such addresses, in lower case; nil where senders stay as they are.
    package var domain: String?
    /// The file with the secrets that they are made with, a line each: the first for new ones, the others are still believed.
    package var secrets: String

    /// Whether such addresses take mail from any sender, and not reports (`<>`) alone.
    package var takesAnySender: Bool

    /// - Parameter domains: ours, to which bounces come.
    init(_ table: ConfigurationTable, domains: [String]) throws(ConfigurationError) {
        domain = try table.string("domain").map { $0.lowercased() }
        secrets = try table.string("secrets", default: "etc/srs.secrets")
        takesAnySender = try table.boolean("any-sender", default: false)
        if let domain, !domains.contains(domain) {
            throw table.error("domain", "\"\(domain)\" is none of \"domains\": bounces would not come back")
        }
    }
}
