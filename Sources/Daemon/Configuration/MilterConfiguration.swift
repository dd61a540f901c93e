import NIOCore

/// `[smtpd.milters.NAME]`: a program that looks at mail and may change it.
package struct MilterConfiguration: Sendable, Equatable {
    /// Where it listens.
    package enum Endpoint: Sendable, Equatable {
        case internet(SocketAddress)
        /// Below the instance directory, in `run/`, which is all that smtpd sees.
        case unix(String)
    }

    /// What becomes of mail when the milter can't be asked.
    package enum FailureAction: String, CaseIterable, Sendable {
        /// It goes on as if there were no such milter.
        case accept
        /// The client is to try again later.
        case `defer`
        case reject
    }

    package var name: String
    package var endpoint: Endpoint
    /// The listeners whose mail it sees, by the keys that name their addresses.
    package var listeners: Set<String> = ["smtp", "submission", "submissions"]
    /// How long it may take to accept a connection, and to agree on what is said.
    package var connectTimeout = TimeAmount.seconds(10)
    /// How long it may take to answer what isn't the end of a message.
    package var commandTimeout = TimeAmount.seconds(30)
    /// How long it may work on a whole message before it says anything.
    package var messageTimeout = TimeAmount.minutes(5)
    package var onFailure = FailureAction.defer
    /// Whether connections are kept for the next client; not every milter can do that.
    package var keepsConnections = false

    package init(name: String, _ endpoint: Endpoint) {
        self.name = name
        self.endpoint = endpoint
    }

    init(_ name: String, _ table: ConfigurationTable) throws(ConfigurationError) {
        guard let socket = try table.string("socket") else { throw table.error("socket", "is missing") }
        self.init(name: name, try Self.endpoint(socket, table))
        let names = try table.strings("listeners", default: listeners.sorted())
        for name in names where !SMTPDConfiguration.listenerNames.contains(name) {
            let known = SMTPDConfiguration.listenerNames.joined(separator: ", ")
            throw table.error("listeners", "\"\(name)\" is none of \(known)")
        }
        listeners = Set(names)
        let range = TimeAmount.milliseconds(100) ... .minutes(10)
        connectTimeout = try table.duration("connect-timeout", default: connectTimeout, in: range)
        commandTimeout = try table.duration("command-timeout", default: commandTimeout, in: range)
        messageTimeout = try table.duration("message-timeout", default: messageTimeout, in: range)
        onFailure = try table.choice("on-failure", default: onFailure)
        keepsConnections = try table.boolean("keep-connections", default: keepsConnections)
    }

    private static func endpoint(
        _ text: String,
        _ table: ConfigurationTable
    ) throws(ConfigurationError) -> Endpoint {
        if text.utf8.contains(UInt8(ascii: "/")) {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.first == "run", parts.count > 1, parts.allSatisfy({ !["", ".", ".."].contains($0) }),
                text.utf8.count <= 100
            else {
                throw table.error("socket", "\"\(text)\" must be a short path in run/, such as run/milters/dkim.sock")
            }
            return .unix(text)
        }
        guard let address = ConfigurationTable.address(text), address.port != 0 else {
            throw table.error(
                "socket",
                "\"\(text)\" is neither an address with a port such as 127.0.0.1:8891 nor a path in run/"
            )
        }
        return .internet(address)
    }

    /// All of them, in the order in which they stand in the file: that's the order in which they are asked.
    static func all(_ table: ConfigurationTable) throws(ConfigurationError) -> [MilterConfiguration] {
        var milters: [MilterConfiguration] = []
        for name in table.keys.sorted(by: { (table.line(of: $0) ?? 0, $0) < (table.line(of: $1) ?? 0, $1) }) {
            milters.append(try MilterConfiguration(name, try table.table(name)))
        }
        return milters
    }
}
