import Daemon
import Front
import MIME
import NIOCore
import Network
import Policy

/// smtpd as a daemon.
package struct SMTPDProgram: FrontProgram {
    package let name = DaemonName.smtpd

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.smtpd.threads }

    package func prepare(_ setup: Setup) throws -> Prepared {
        DateTime.loadTimeZone()
        return try prepareFront(setup)
    }

    package func addresses(_ configuration: Configuration) -> [(role: ListenerKind, addresses: [SocketAddress])] {
        [
            (.smtp, configuration.smtpd.smtp), (.submission, configuration.smtpd.submission),
            (.submissions, configuration.smtpd.submissions), (.lmtp, configuration.smtpd.lmtp),
        ]
    }

    package func sockets(_ configuration: Configuration) -> [(role: ListenerKind, paths: [String])] {
        [(.lmtp, configuration.smtpd.lmtpSockets)]
    }

    /// Not registered, but what Exim offers and takes.
    package var applicationProtocols: [String] { ["smtp", "esmtp"] }

    package func asksForCertificate(_ configuration: Configuration) -> Bool { configuration.smtpd.clientCertificates }

    package func shutdownGrace(_ configuration: Configuration) -> TimeAmount { configuration.smtpd.shutdownGrace }

    package func service(_ context: DaemonContext) -> SMTPFront {
        var settings = ServerSettings(context.configuration)
        settings.queueSocket = context.socket("queue.sock")
        settings.recipientSocket = context.socket("recipient.sock")
        settings.resolverSocket = context.socket("dns.sock")
        settings.reportSocket = context.configuration.reports.isOnForDMARC ? context.socket("report.sock") : nil
        for (place, milter) in settings.milters.enumerated() {
            guard case .unix(let path) = milter.endpoint else { continue }
            settings.milters[place].endpoint = .unix(context.socket(String(path.dropFirst("run/".count))))
        }
        for kind in settings.overrides.keys { settings.overrides[kind]?.milters = settings.milters }
        settings.front.authoritySocket = context.socket("auth.sock")
        return SMTPFront(settings)
    }
}

extension ServerSettings {
    /// What the configuration says; the sockets are where daemons have them.
    package init(_ configuration: Configuration) {
        self.init(configuration, configuration.smtpd)
        for kind in ListenerKind.allCases {
            guard let own = configuration.smtpd.listeners[kind.rawValue]?.settings else { continue }
            overrides[kind] = ServerSettings(configuration, own)
        }
        milterMemory = overrides.values.reduce(milterMemory) { max($0, $1.milterMemory) }
    }

    /// - Parameter smtpd: what all listeners have, or one.
    private init(_ configuration: Configuration, _ smtpd: SMTPDConfiguration) {
        self.init(hostname: configuration.hostname)
        front = FrontSettings(configuration)
        front.mechanisms = front.mechanisms.filter(smtpd.mechanisms.contains)
        requiresTLS = smtpd.requireTLS
        relayFrom = smtpd.relayFrom
        xclientFrom = smtpd.xclientFrom
        addressLookup = smtpd.addressLookup
        for kind in ListenerKind.allCases { listeners[kind] = configuration.smtpd.listeners[kind.rawValue] }
        limits.hold = smtpd.maximumHold.nanoseconds / 1_000_000_000
        limits.deliverBy = Int(smtpd.minimumDeliverBy.nanoseconds / 1_000_000_000)
        enforcesSender = smtpd.enforceSender
        policy = smtpd.policy
        policyBody = smtpd.policyBody
        relayDomains = Set(smtpd.relayDomains)
        checksRecipients = smtpd.checkRecipients
        exempt = smtpd.clients.exempt
        mayPipelineEarly = smtpd.clients.mayPipelineEarly
        rates.connections = smtpd.clients.connectionsPerMinute
        rates.networkConnections = smtpd.clients.connectionsPerMinutePerNetwork
        rates.messages = smtpd.clients.messagesPerMinute
        rates.networkMessages = smtpd.clients.messagesPerMinutePerNetwork
        greylistFallback = smtpd.greylistFallback == .pass ? .pass : .wait
        dnsLists = smtpd.dnsLists.sorted { $0.key < $1.key }.map { DNSList($0.key, $0.value) }
        clientTimeout = smtpd.clientTimeout
        ownNames = Set(([configuration.hostname] + configuration.domains).map { $0.lowercased() })
        authentication = AuthenticationPolicy(smtpd.authentication, hostname: configuration.hostname)
        authservID = smtpd.authentication.authservID
        milters = smtpd.milters
        milterMemory = smtpd.milterMemory
        recipientCache = smtpd.recipientCache
        limits.message = smtpd.maximumMessage
        limits.recipients = smtpd.maximumRecipients
        limits.hops = smtpd.maximumHops
        limits.textLine = smtpd.maximumLine
        limits.greetingDelay = smtpd.greetingDelay
        front.connections = Listener.Limits(
            connections: smtpd.maximumConnections,
            perClient: smtpd.maximumConnectionsPerClient
        )
        front.maximumErrors = smtpd.maximumErrors
        front.errorDelay = smtpd.errorDelay
        front.idleTimeout = smtpd.idleTimeout
        front.sessionTimeout = smtpd.sessionTimeout
    }
}

extension AuthenticationPolicy {
    /// nil where nothing is to be checked.
    init?(_ configuration: SMTPDAuthenticationConfiguration, hostname: String) {
        guard configuration.isOn else { return nil }
        self.init(authservID: configuration.authservID ?? hostname)
        followsDMARC = configuration.followsDMARC
        refusesSPFFailures = configuration.refusesSPFFailures
        defersInTrouble = configuration.defersInTrouble
        trustedSealers = Set(configuration.trustedSealers.map { $0.lowercased() })
        timeout = configuration.timeout
    }
}

extension DNSList {
    init(_ name: String, _ configuration: DNSListConfiguration) {
        self.init(name: name, zone: configuration.zone, weight: configuration.weight, codes: configuration.codes)
    }
}
