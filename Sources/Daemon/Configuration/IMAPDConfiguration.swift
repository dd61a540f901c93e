import NIOCore

/// `[imapd]`
package struct IMAPDConfiguration: Sendable {
    package var imap: [SocketAddress]
    package var imaps: [SocketAddress]

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        imap = try table.addresses("imap")
        imaps = try table.addresses("imaps")
    }
}
