import NIOCore

/// `[local-deliver]`
package struct LocalDeliverConfiguration: Sendable {
    /// Where the mailboxes are.
    package var mailDirectory: String

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        mailDirectory = try table.string("mail-directory", default: "mail")
    }
}
