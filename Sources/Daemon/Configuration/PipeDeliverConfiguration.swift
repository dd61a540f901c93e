import NIOCore

/// `[pipe-deliver]`
package struct PipeDeliverConfiguration: Sendable {
    /// `[pipe-deliver.commands.NAME]`: a program that mail is given to.
    package struct Command: Sendable, Hashable {
        /// The program's path and its arguments. In arguments `${recipient}` and its like stand for what the message has.
        package var arguments: [String]
        /// Recipients of a message that one run is for.
        package var recipients: Int
        /// Runs at the same time.
        package var concurrency: Int
        /// How long a run may take.
        package var timeLimit: TimeAmount
        /// Whether the message begins with a Return-Path field.
        package var addsReturnPath: Bool
        /// Whether it begins with a line `From SENDER DATE`, as messages in mbox files do.
        package var addsFromLine: Bool

        package init(_ arguments: [String]) {
            self.arguments = arguments
            recipients = 1
            concurrency = 5
            timeLimit = .minutes(10)
            addsReturnPath = true
            addsFromLine = false
        }

        fileprivate init(_ table: ConfigurationTable) throws(ConfigurationError) {
            self.init(try table.strings("command"))
            guard let program = arguments.first, program.utf8.first == UInt8(ascii: "/"), !program.contains("${"),
                !arguments.contains(where: { $0.utf8.contains(0) })
            else {
                throw table.error("command", "must be a list: the path of a program from the root, and its arguments")
            }
            if let wrong = arguments.lazy.compactMap(Self.unknownMacro).first {
                let known = PipeMacro.allCases.map(\.rawValue).joined(separator: ", ")
                throw table.error("command", "\"${\(wrong)}\" is none of \(known)")
            }
            recipients = try table.integer("recipients", default: recipients, in: 1...1000)
            concurrency = try table.integer("concurrency", default: concurrency, in: 1...1000)
            timeLimit = try table.duration("time-limit", default: timeLimit, in: .seconds(1) ... .hours(1))
            addsReturnPath = try table.boolean("return-path", default: addsReturnPath)
            addsFromLine = try table.boolean("from-line", default: addsFromLine)
        }

        /// A macro of an argument that there isn't, or that has no end.
        private static func unknownMacro(_ argument: String) -> String? {
            let parts = argument.split(separator: "${", omittingEmptySubsequences: false).dropFirst()
            for part in parts {
                guard let end = part.firstIndex(of: "}") else { return String(part) }
                if PipeMacro(rawValue: String(part[..<end])) == nil { return String(part[..<end]) }
            }
            return nil
        }
    }

    /// By name.
    package var commands: [String: Command] = [:]
    /// Runs at the same time, of all commands.
    package var concurrency: Int
    /// Directories beneath which programs may be started and files read, beside the system's.
    package var executable: [String]
    /// Directories beneath which files may be read.
    package var readable: [String]
    /// Directories beneath which files may be written.
    package var writable: [String]

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        concurrency = try table.integer("concurrency", default: 20, in: 1...1000)
        executable = try Self.directories(table, "executable", default: [])
        readable = try Self.directories(table, "readable", default: [])
        writable = try Self.directories(table, "writable", default: [])
        let commands = try table.table("commands")
        for name in commands.keys {
            guard RemoteRelayConfiguration.isRouteName(name) else {
                throw commands.error(name, "the name of a command is letters, digits, \"-\", \"_\" and \".\"")
            }
            self.commands[name] = try Command(try commands.table(name))
        }
    }

    private static func directories(
        _ table: ConfigurationTable,
        _ key: String,
        default standard: [String]
    ) throws(ConfigurationError) -> [String] {
        let paths = try table.strings(key, default: standard)
        for path in paths where path.utf8.first != UInt8(ascii: "/") || path.utf8.contains(0) {
            throw table.error(key, "\"\(path)\" must be a path from the root")
        }
        return paths
    }
}

/// What stands in an argument of a command as `${NAME}`.
package enum PipeMacro: String, Sendable, CaseIterable {
    /// The whole address.
    case recipient
    /// The local part up to the extension.
    case user
    /// What stands behind the first `+`; empty where there is none.
    case `extension`
    case domain
    /// The local part.
    case mailbox
    /// The reverse-path without brackets; empty for the null one.
    case sender
    /// The queue's ID.
    case id
    /// Octets of the message.
    case size

    /// Whether each recipient has its own.
    package var isOfRecipient: Bool {
        switch self {
        case .recipient, .user, .extension, .domain, .mailbox: true
        case .sender, .id, .size: false
        }
    }
}
