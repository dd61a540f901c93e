import NIOCore

/// `[pop3d]`
package struct POP3DConfiguration: Sendable {
    package var pop3: [SocketAddress]
    package var pop3s: [SocketAddress]

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        pop3 = try table.addresses("pop3")
        pop3s = try table.addresses("pop3s")
    }
}
