import DNS
import MailRules
import NIOCore
import Network
import SASL
import SMTP

/// Who is told by VRFY and EXPN which addresses there are.
package enum AddressLookup: String, CaseIterable, Sendable {
    case nobody
    /// Who has logged in, clients in `relay-from`, and those of LMTP.
    case trusted
    case anybody
}

/// What becomes of mail that is greylisted while authd can't be asked.
package enum GreylistFallback: String, CaseIterable, Sendable {
    case pass
    case `defer`
}

/// `[smtpd.listener.NAME]`: what holds for one kind of listener.
package struct SMTPListenerConfiguration: Sendable {
    /// Extensions that are neither announced nor understood.
    package var disabledExtensions: Set<ServiceExtension> = []
    /// Proxies whose clients come with the PROXY protocol; nobody else may connect. nil for a listener without.
    package var proxies: [AddressRange]?
    /// What else is different here: the settings of `[smtpd]` with those of this table in their places; nil where nothing is.
    package private(set) var settings: SMTPDConfiguration?

    /// A listener like all others.
    package init() {}

    /// - Parameter all: `[smtpd]`.
    init(_ table: ConfigurationTable, in all: ConfigurationTable) throws(ConfigurationError) {
        // These are the listener's own, beside what holds everywhere.
        disabledExtensions = try Self.extensions(all).union(try Self.extensions(table))
        let networks = try SMTPDConfiguration.blocks(table, "proxy-protocol")
        if !networks.isEmpty { proxies = networks }
        let others = table.keys.filter { $0 != Self.extensionsKey && $0 != "proxy-protocol" }
        guard !others.isEmpty else { return }
        for key in others where SMTPDConfiguration.common.contains(key) {
            throw table.error(key, "holds for all listeners: it stands in [smtpd]")
        }
        table.fallBack(to: all)
        settings = try SMTPDConfiguration(values: table)
    }

    private static let extensionsKey = "disabled-extensions"

    static func extensions(_ table: ConfigurationTable) throws(ConfigurationError) -> Set<ServiceExtension> {
        let key = extensionsKey
        var extensions: Set<ServiceExtension> = []
        for text in try table.strings(key) {
            guard let known = ServiceExtension(keyword: text) else {
                let names = ServiceExtension.allCases.map(\.rawValue).joined(separator: ", ")
                throw table.error(key, "\"\(text)\" is none of \(names)")
            }
            extensions.insert(known)
        }
        return extensions
    }
}

/// `[smtpd]`
package struct SMTPDConfiguration: Sendable {
    /// Where the MTA listens (port 25 by its standard name).
    package var smtp: [SocketAddress]
    /// Where the MSA listens (587).
    package var submission: [SocketAddress]
    /// Where the MSA listens with TLS from the first octet on (465).
    package var submissions: [SocketAddress]
    /// Where LMTP is spoken (RFC 2033).
    package var lmtp: [SocketAddress]
    /// The same, paths of Unix-domain sockets below the instance directory.
    package var lmtpSockets: [String]
    /// What differs between listeners, by the key that names their addresses.
    package var listeners: [String: SMTPListenerConfiguration]
    /// Event loops; 0 for one a core.
    package var threads: Int
    /// Octets.
    package var maximumMessage: Int
    package var maximumRecipients: Int
    package var maximumConnections: Int
    package var maximumConnectionsPerClient: Int
    package var maximumErrors: Int
    package var idleTimeout: TimeAmount
    package var sessionTimeout: TimeAmount
    /// What each fault of a client beyond half of `maximumErrors` adds to the delay of its reply.
    package var errorDelay: TimeAmount
    /// Received fields of a message, ours included; more are a loop.
    package var maximumHops: Int
    /// Octets of a line of a message; 0 for no limit.
    package var maximumLine: Int
    /// How long the greeting is held back to catch clients that talk before it; 0 for no check.
    package var greetingDelay: TimeAmount
    /// How long a positive answer of authd about a recipient is cached.
    package var recipientCache: TimeAmount
    /// How long sessions may go on when the daemon is asked to end.
    package var shutdownGrace: TimeAmount
    /// Whether reverse-path and From of a user who logged in must be the user's own addresses.
    package var enforceSender: Bool
    /// Networks that may relay without authentication.
    package var relayFrom: [AddressRange]
    /// What the administrator wants done with which mail.
    package var policy: PolicyTable
    /// Domains that aren't ours, in lower case, for which mail is taken from anybody, to be sent on.
    package var relayDomains: [String]
    /// Whether the next hop is asked whether it takes mail for a recipient there.
    package var checkRecipients: Bool
    package var greylistFallback: GreylistFallback
    /// What strangers may do.
    package var clients: ClientLimitsConfiguration
    /// What rules look at of a message's body. Octets.
    package var policyBody: Int
    /// DNS lists that clients are looked up in, by the name that rules call them.
    package var dnsLists: [String: DNSListConfiguration]
    /// How long the DNS is waited for before the first recipient is answered.
    package var clientTimeout: TimeAmount
    /// What is made of SPF, DKIM, ARC and DMARC.
    package var authentication: SMTPDAuthenticationConfiguration
    /// Programs that look at mail, in the order in which they are asked.
    package var milters: [MilterConfiguration]
    /// What may be held in memory of messages that milters look at. Octets.
    package var milterMemory: Int
    /// Networks of proxies whose word on who the client is counts (XCLIENT).
    package var xclientFrom: [AddressRange]
    package var addressLookup: AddressLookup
    /// How long a message may be held for its sender (FUTURERELEASE).
    package var maximumHold: TimeAmount
    /// The shortest time in which a sender may want a message delivered (DELIVERBY).
    package var minimumDeliverBy: TimeAmount
    /// Whether users are asked for a TLS certificate, on submission and submissions.
    package var clientCertificates: Bool

    /// Whether MAIL is refused on connections that aren't encrypted.
    package var requireTLS: Bool
    /// How users may log in here, of those that `[login]` has.
    package var mechanisms: [SASLMechanismName]

    /// The keys that name addresses to listen on.
    package static let listenerNames = ["smtp", "submission", "submissions", "lmtp"]
    /// What can't be different for one kind of listener.
    static let common = Set(
        listenerNames + [
            "threads", "shutdown-grace", "recipient-cache", "dns-lists", "client-certificates", "milters",
            "milter-memory", "clients", "greylist-fallback", "listener",
        ]
    )

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        try self.init(values: table)
        let names = try table.table("listener")
        for name in Self.listenerNames {
            listeners[name] = try SMTPListenerConfiguration(try names.table(name), in: table)
        }
    }

    /// All but what differs between listeners.
    fileprivate init(values table: ConfigurationTable) throws(ConfigurationError) {
        listeners = [:]
        smtp = try table.addresses("smtp")
        submission = try table.addresses("submission")
        submissions = try table.addresses("submissions")
        let lmtp = try table.strings("lmtp")
        lmtpSockets = lmtp.filter { $0.contains("/") }
        self.lmtp = []
        for text in lmtp where !text.contains("/") {
            guard let address = ConfigurationTable.address(text) else {
                throw table.error(
                    "lmtp",
                    "\"\(text)\" is neither an address with a port nor a path such as run/lmtp.sock"
                )
            }
            self.lmtp.append(address)
        }
        for path in lmtpSockets where path.utf8.first == UInt8(ascii: "/") || path.utf8.count > 100 {
            throw table.error("lmtp", "\"\(path)\" must be a short path below the instance directory")
        }
        _ = try SMTPListenerConfiguration.extensions(table)
        threads = try table.integer("threads", default: 0, in: 0...256)
        maximumMessage = try table.octets("maximum-message", default: 50 << 20)
        maximumRecipients = try table.integer("maximum-recipients", default: 1000, in: 1...20_000)
        maximumConnections = try table.integer("maximum-connections", default: 1000, in: 1...1_000_000)
        maximumConnectionsPerClient = try table.integer(
            "maximum-connections-per-client",
            default: 100,
            in: 1...1_000_000
        )
        maximumErrors = try table.integer("maximum-errors", default: 20, in: 1...1000)
        idleTimeout = try table.duration("idle-timeout", default: .minutes(5))
        sessionTimeout = try table.duration("session-timeout", default: .hours(1))
        errorDelay = try table.duration("error-delay", default: .milliseconds(200), in: .zero ... .minutes(1))
        maximumHops = try table.integer("maximum-hops", default: 100, in: 1...10_000)
        maximumLine = try table.octets("maximum-line", default: 1 << 20)
        greetingDelay = try table.duration("greeting-delay", default: .seconds(2), in: .zero ... .minutes(1))
        recipientCache = try table.duration("recipient-cache", default: .seconds(2), in: .zero ... .hours(1))
        shutdownGrace = try table.duration("shutdown-grace", default: .seconds(10), in: .zero ... .minutes(10))
        enforceSender = try table.boolean("enforce-sender", default: true)
        clientCertificates = try table.boolean("client-certificates", default: false)
        requireTLS = try table.boolean("require-tls", default: false)
        mechanisms = try LoginConfiguration.mechanisms(table)
        relayFrom = try Self.blocks(table, "relay-from")
        let lists = try table.table("dns-lists")
        dnsLists = [:]
        for name in lists.keys { dnsLists[name] = try DNSListConfiguration(try lists.table(name)) }
        policy = try Self.policy(table, lists: Set(dnsLists.keys))
        relayDomains = try table.strings("relay-domains").map { $0.lowercased() }
        for name in relayDomains where (try? DomainName(name))?.isRoot != false {
            throw table.error("relay-domains", "\"\(name)\" is not a domain")
        }
        checkRecipients = try table.boolean("check-recipients", default: !relayDomains.isEmpty)
        clients = try ClientLimitsConfiguration(try table.table("clients"))
        greylistFallback = try table.choice("greylist-fallback", default: .pass)
        policyBody = try table.octets("policy-body", default: 64 << 10, in: 0...(1 << 20))
        clientTimeout = try table.duration("client-timeout", default: .seconds(5), in: .seconds(1) ... .minutes(1))
        authentication = try SMTPDAuthenticationConfiguration(try table.table("authentication"))
        milters = try MilterConfiguration.all(try table.table("milters"))
        milterMemory = try table.octets("milter-memory", default: max(256 << 20, 5 * maximumMessage))
        guard milters.isEmpty || milterMemory >= 3 * maximumMessage else {
            throw table.error("milter-memory", "must be three times as much as maximum-message at least")
        }
        xclientFrom = try Self.blocks(table, "xclient-from")
        addressLookup = try table.choice("address-lookup", default: .trusted)
        maximumHold = try table.duration("maximum-hold", default: .hours(24 * 30), in: .zero ... .hours(24 * 365))
        minimumDeliverBy = try table.duration("minimum-deliver-by", default: .seconds(60), in: .zero ... .hours(24))
    }

    /// Without a table of his own: nobody else is us.
    private static let standardPolicy = """
        reject 5.7.1 "that is my own name, not yours" if listener smtp and own-helo
        """

    private static func policy(_ table: ConfigurationTable, lists: Set<String>) throws(ConfigurationError)
        -> PolicyTable
    {
        let key = "policy"
        let text = try table.string(key)
        // A text of several lines begins on the line behind its key.
        let first = (table.line(of: key) ?? 0) + (text?.utf8.contains(UInt8(ascii: "\n")) == true ? 1 : 0)
        do throws(PolicySyntaxError) {
            return try PolicyParser.table(text ?? standardPolicy, firstLine: first, lists: lists)
        } catch {
            throw table.error(key, error.description)
        }
    }

    static func blocks(
        _ table: ConfigurationTable,
        _ key: String,
        default standard: [String] = []
    ) throws(ConfigurationError) -> [AddressRange] {
        var blocks: [AddressRange] = []
        for text in try table.strings(key, default: standard) {
            guard let block = AddressRange(text) else {
                throw table.error(key, "\"\(text)\" is not a block of addresses such as 192.0.2.0/24 or 2001:db8::/32")
            }
            blocks.append(block)
        }
        return blocks
    }
}

/// `[smtpd.dns-lists.NAME]`: a list of addresses in the DNS (RFC 5782).
package struct DNSListConfiguration: Sendable {
    package var zone: DomainName
    /// Added to a client's score where the list has it; below zero for a list of good hosts.
    package var weight: Int
    /// Answers that count; empty for all.
    package var codes: [DNSListCode]

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        let text = try table.string("zone") ?? ""
        guard let zone = try? DomainName(text), !zone.isRoot else {
            throw table.error("zone", "\"\(text)\" is not a domain such as bl.example.org")
        }
        self.zone = zone
        weight = try table.integer("weight", default: 1, in: -1000...1000)
        codes = []
        for text in try table.strings("codes") {
            guard let code = DNSListCode(text) else {
                throw table.error("codes", "\"\(text)\" is not a last octet such as 2 or 4-7, nor as 127.0.*.1-3")
            }
            codes.append(code)
        }
    }
}
