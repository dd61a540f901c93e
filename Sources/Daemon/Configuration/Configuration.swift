import Logging
import MailRules
import TLS

#if canImport(Glibc)
import Glibc
#endif

/// All of `etc/martlet.toml`, decoded. Every daemon decodes and checks the whole file.
package struct Configuration: Sendable {
    /// Our name in greetings, Received fields and message-ids.
    package var hostname: String
    /// Domains whose mailboxes are here, in lower case.
    package var domains: [String]
    package var logLevel: Logger.Level
    package var tls: TLSConfiguration
    package var systemUsers: SystemUsers
    package var seccomp: SeccompConfiguration
    package var login: LoginConfiguration

    package var smtpd: SMTPDConfiguration
    package var queueManager: QueueManagerConfiguration
    package var remoteRelay: RemoteRelayConfiguration
    package var localDeliver: LocalDeliverConfiguration
    package var pipeDeliver: PipeDeliverConfiguration
    package var authd: AuthdConfiguration
    package var pop3d: POP3DConfiguration
    package var imapd: IMAPDConfiguration
    package var resolverd: ResolverdConfiguration
    package var reports: ReportsConfiguration
    package var srs: SRSConfiguration

    /// Decodes the text of a configuration file.
    ///
    /// - Throws: `ConfigurationError` with the line and the key: a syntax error, a value of the wrong kind or out of
    ///   range, a key that nothing reads.
    package init(text: String, file: String) throws(ConfigurationError) {
        let root: ConfigurationTable
        do {
            root = ConfigurationTable(try TOMLDocument.parse(text), file: file)
        } catch {
            throw ConfigurationError(file: file, line: error.line, reason: error.reason)
        }
        try self.init(root)
        try root.finish()
    }

    private init(_ root: ConfigurationTable) throws(ConfigurationError) {
        guard let hostname = try root.string("hostname") else { throw root.error("hostname", "is missing") }
        guard Self.isDomain(hostname) else { throw root.error("hostname", "\"\(hostname)\" is not a domain name") }
        self.hostname = hostname
        domains = try root.strings("domains").map { $0.lowercased() }
        for domain in domains where !Self.isDomain(domain) {
            throw root.error("domains", "\"\(domain)\" is not a domain name")
        }
        let log = try root.table("log")
        logLevel = try log.choice("level", default: Logger.Level.info)
        tls = try TLSConfiguration(try root.table("tls"))
        systemUsers = try SystemUsers(try root.table("system-users"))
        seccomp = try SeccompConfiguration(try root.table("seccomp"))
        login = try LoginConfiguration(try root.table("login"))
        smtpd = try SMTPDConfiguration(try root.table("smtpd"))
        queueManager = try QueueManagerConfiguration(try root.table("queue-manager"))
        remoteRelay = try RemoteRelayConfiguration(try root.table("remote-relay"))
        localDeliver = try LocalDeliverConfiguration(try root.table("local-deliver"))
        pipeDeliver = try PipeDeliverConfiguration(try root.table("pipe-deliver"))
        authd = try AuthdConfiguration(try root.table("authd"))
        pop3d = try POP3DConfiguration(try root.table("pop3d"))
        imapd = try IMAPDConfiguration(try root.table("imapd"))
        resolverd = try ResolverdConfiguration(try root.table("resolverd"))
        srs = try SRSConfiguration(try root.table("srs"), domains: domains)
        reports = try ReportsConfiguration(try root.table("reports"), domain: domains.first ?? hostname)
        for table in [smtpd] + smtpd.listeners.values.compactMap(\.settings) {
            for (name, line) in table.policy.routes where remoteRelay.namedRoutes[name] == nil {
                let reason = "line \(line): there is no route \"\(name)\" in [remote-relay.named-routes]"
                throw root.error("smtpd", reason)
            }
        }
        for name in remoteRelay.namedCommands.sorted() where pipeDeliver.commands[name] == nil {
            let reason = "a route pipes to \"\(name)\", which is not in [pipe-deliver.commands]"
            throw root.error("remote-relay", reason)
        }
        let askers = [
            ("smtpd", smtpd.clientCertificates), ("pop3d", pop3d.clientCertificates),
            ("imapd", imapd.clientCertificates),
        ]
        for (section, asks) in askers where asks && tls.clientAuthorities == nil {
            throw root.error(section, "client-certificates needs tls.client-authorities")
        }
    }

    /// Reads and decodes a file. By plain system calls, for no thread may exist yet.
    package static func load(_ file: String) throws(ConfigurationError) -> Configuration {
        guard let text = WholeFile.read(file, maximum: 1 << 20) else {
            throw ConfigurationError(file: file, reason: String(cString: strerror(errno)))
        }
        return try Configuration(text: text, file: file)
    }

    static func isDomain(_ text: String) -> Bool {
        let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return text.utf8.count <= 253
            && labels.allSatisfy { label in
                (1...63).contains(label.count)
                    && label.allSatisfy { octet in
                        octet == UInt8(ascii: "-") || octet == UInt8(ascii: "_") || octet >= 0x80
                            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet)
                            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(octet | 0x20)
                    }
            }
    }
}

/// `[system-users]`: the system user of each daemon.
package struct SystemUsers: Sendable {
    private var names: [DaemonName: String] = [:]

    private static let standard: [(key: String, name: String, daemons: [DaemonName])] = [
        ("smtpd", "mlt-smtp", [.smtpd]),
        ("queue-manager", "mlt-queue", [.queueManager]),
        ("remote-relay", "mlt-relay", [.remoteRelay]),
        ("mail", "mlt-mail", [.localDeliver, .pop3dMailbox, .imapdMailbox]),
        ("pipe-deliver", "mlt-pipe", [.pipeDeliver]),
        ("pop3d", "mlt-pop3", [.pop3d]),
        ("imapd", "mlt-imap", [.imapd]),
        ("resolverd", "mlt-dns", [.resolverd]),
        ("authd", "mlt-auth", [.authd]),
        ("reportd", "mlt-report", [.reportd]),
        ("keyd", "mlt-key", [.keyd]),
    ]

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        var owners: [String: String] = [:]
        for entry in Self.standard {
            let name = try table.string(entry.key, default: entry.name)
            // What keeps the daemons apart is that each has a user of its own, which is nobody else's.
            guard name != "root" else {
                throw table.error(entry.key, "root may do everything: give \(entry.key) a user of its own")
            }
            if let owner = owners.updateValue(entry.key, forKey: name) {
                throw table.error(entry.key, "\"\(name)\" is the user of \(owner) already: give each its own")
            }
            for daemon in entry.daemons { names[daemon] = name }
        }
    }

    /// The name of a daemon's system user.
    package subscript(daemon: DaemonName) -> String { names[daemon] ?? daemon.rawValue }

    /// The uids of daemons, for checks of who is at the other end of a socket; users that don't exist are left out.
    /// Asks the system's user database, so only before rights are given up.
    package func uids(of daemons: [DaemonName]) -> Set<UInt32> {
        Set(daemons.compactMap { getpwnam(self[$0])?.pointee.pw_uid })
    }
}
