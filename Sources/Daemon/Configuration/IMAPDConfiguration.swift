import NIOCore

/// `[imapd]`
package struct IMAPDConfiguration: Sendable {
    package var imap: [SocketAddress]
    /// With TLS from the first octet on.
    package var imaps: [SocketAddress]
    /// Event loops of the front and of the mailbox process, each; 0 for one a core.
    package var threads: Int
    package var maximumConnections: Int
    package var maximumConnectionsPerClient: Int
    /// Octets of a command without its message.
    package var maximumCommand: Int
    /// Octets of a message in APPEND.
    package var maximumMessage: Int
    /// How many messages a command may be about (RFC 9738); 0 for any number.
    package var messagesPerCommand: Int
    /// The first part of the names of other users' folders; nil where users can't let others at theirs.
    package var othersPrefix: String?
    /// The Maildir of the folders for all, below the mail directory; nil where there are none.
    package var publicFolders: String?
    /// The first part of their names.
    package var publicPrefix: String
    /// Whether what was worked out of messages is kept in a file of the account.
    package var index: Bool
    /// Whether texts are, for searches.
    package var fullTextIndex: Bool
    /// Bad commands and failed logins before the client is disconnected.
    package var maximumErrors: Int
    /// What each fault beyond half of `maximumErrors` adds to the delay of its reply.
    package var errorDelay: TimeAmount
    /// How long a client may be silent after login (RFC 3501 §5.4: at least 30 minutes).
    package var idleTimeout: TimeAmount
    /// Time from the connection to the login.
    package var loginTimeout: TimeAmount
    /// How often a selected folder is polled in IDLE where inotify reports nothing.
    package var pollInterval: TimeAmount
    /// How long sessions may go on when the daemon is asked to end.
    package var shutdownGrace: TimeAmount
    /// Whether clients on this machine may log in without TLS.
    package var allowPlaintextOnLoopback: Bool
    /// Names of capabilities that are neither announced nor understood.
    package var disabledCapabilities: [String]
    /// Whether clients are asked for a TLS certificate.
    package var clientCertificates: Bool

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        imap = try table.addresses("imap")
        imaps = try table.addresses("imaps")
        threads = try table.integer("threads", default: 1, in: 0...256)
        maximumConnections = try table.integer("maximum-connections", default: 2000, in: 1...1_000_000)
        maximumConnectionsPerClient = try table.integer(
            "maximum-connections-per-client",
            default: 200,
            in: 1...1_000_000
        )
        maximumCommand = try table.octets("maximum-command", default: 64 << 10, in: 8192...(16 << 20))
        maximumMessage = try table.octets("maximum-message", default: 50 << 20)
        messagesPerCommand = try table.integer("messages-per-command", default: 0, in: 0...Int(UInt32.max))
        guard messagesPerCommand == 0 || messagesPerCommand >= 1000 else {
            throw table.error("messages-per-command", "0, or 1000 and more (RFC 9738 §3)")
        }
        othersPrefix = try Self.prefix(table, "others-prefix", default: "")
        publicFolders = try table.string("public-folders", default: "")
        if publicFolders == "" { publicFolders = nil }
        publicPrefix = try Self.prefix(table, "public-prefix", default: "Public") ?? "Public"
        guard othersPrefix != publicPrefix else {
            throw table.error("public-prefix", "the same as others-prefix")
        }
        if let path = publicFolders, path.hasPrefix("/") || path.split(separator: "/").contains("..") {
            throw table.error("public-folders", "a path below the mail directory is expected")
        }
        index = try table.boolean("index", default: true)
        fullTextIndex = try table.boolean("full-text-index", default: true)
        maximumErrors = try table.integer("maximum-errors", default: 20, in: 1...1000)
        errorDelay = try table.duration("error-delay", default: .milliseconds(200), in: .zero ... .minutes(1))
        idleTimeout = try table.duration("idle-timeout", default: .minutes(30))
        loginTimeout = try table.duration("login-timeout", default: .minutes(3))
        pollInterval = try table.duration("poll-interval", default: .seconds(30), in: .seconds(1) ... .minutes(29))
        shutdownGrace = try table.duration("shutdown-grace", default: .seconds(10), in: .zero ... .minutes(10))
        allowPlaintextOnLoopback = try table.boolean("allow-plaintext-on-loopback", default: false)
        clientCertificates = try table.boolean("client-certificates", default: false)
        disabledCapabilities = try table.strings("disabled-capabilities")
    }

    /// One part of folders' names; nil where it's empty.
    private static func prefix(
        _ table: ConfigurationTable,
        _ key: String,
        default value: String
    ) throws(ConfigurationError) -> String? {
        let prefix = try table.string(key, default: value)
        guard !prefix.isEmpty else { return nil }
        let isName = prefix.utf8.allSatisfy { octet in
            (0x30...0x39).contains(octet) || (0x41...0x5A).contains(octet) || (0x61...0x7A).contains(octet)
        }
        guard isName, prefix.utf8.count <= 32, prefix.lowercased() != "inbox" else {
            throw table.error(key, "letters and digits are expected, and not INBOX")
        }
        return prefix
    }
}
