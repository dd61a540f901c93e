import DNS
import Daemon
import NIOCore
import Network
import SMTP

/// The configuration as the relay uses it.
struct RelaySettings: Sendable {
    let hostname: String
    let ownName: DomainName?
    /// Where this host takes mail from others itself.
    private let ownAddresses: [SocketAddress]
    /// This machine's addresses.
    private let interfaces: [SocketAddress]
    let port: Int
    /// What is wanted of TLS where no line says something else.
    private let standardRule: RelayTLSRule
    private let rules: DomainTable<RelayTLSRule>
    private let standardClientCertificate: String?
    /// Whether TLS is used where nobody says something else.
    var usesTLS: Bool { standardRule.level != .none }
    let usesDANE: Bool
    let usesMTASTS: Bool
    /// In front of the name of a socket beneath `run/`.
    let runDirectory: String
    let times: RemoteRelayConfiguration.Timeouts
    private let standardSource: RemoteRelayConfiguration.Source
    private let sources: DomainTable<RemoteRelayConfiguration.Source>
    let reuseTime: TimeAmount
    let reuseCount: Int
    let hostConcurrency: Int
    private let standardHostInterval: TimeAmount?
    private let hostIntervals: DomainTable<TimeAmount>
    let signs: Bool
    let seals: Bool
    /// Our name in Authentication-Results.
    let authservID: String

    /// - Parameters:
    ///   - interfaces: this machine's addresses, for a smtpd that listens on all of them.
    ///   - runDirectory: what stands in front of the name of a socket beneath `run/`.
    init(_ configuration: Configuration, interfaces: [SocketAddress], runDirectory: String = "run/") {
        let relay = configuration.remoteRelay
        hostname = configuration.hostname
        ownName = try? DomainName(configuration.hostname)
        ownAddresses = configuration.smtpd.smtp.map(\.unmapped)
        self.interfaces = interfaces.map(\.unmapped)
        port = relay.port
        let level: RelayTLSRule.Level =
            switch relay.tls {
            case .opportunistic: .may
            case .off: .none
            case .required: .encrypt
            }
        standardRule = RelayTLSRule(level)
        rules = DomainTable(relay.tlsRules)
        standardClientCertificate = relay.clientCertificate
        usesDANE = relay.usesDANE && relay.tls != .off
        usesMTASTS = relay.usesMTASTS && relay.tls != .off
        self.runDirectory = runDirectory
        times = relay.timeouts
        standardSource = relay.source
        sources = DomainTable(relay.sources)
        reuseTime = relay.reuseTime
        reuseCount = relay.reuseCount
        hostConcurrency = relay.hostConcurrency
        standardHostInterval = relay.hostInterval
        hostIntervals = DomainTable(relay.hostIntervals)
        signs = relay.signs
        seals = relay.seals
        authservID = configuration.smtpd.authentication.authservID ?? hostname
    }

    /// The addresses that this machine has now.
    static func interfaces() -> [SocketAddress] {
        ((try? System.enumerateDevices()) ?? []).compactMap(\.address)
    }

    /// Whether a connection there would reach our own smtpd.
    func isOwn(_ address: SocketAddress) -> Bool {
        let address = address.unmapped
        let isHere = address.isUnspecified || address.isLoopback
        return ownAddresses.contains { own in
            guard own.port == address.port, own.protocol == address.protocol else { return false }
            if own == address || address.isUnspecified && own.isLoopback { return true }
            // A wildcard listens on all addresses of its family.
            return own.isUnspecified
                && (isHere || interfaces.contains { $0.addressOctets == address.addressOctets })
        }
    }

    /// Whether a route's host is this one by name.
    func isOwn(_ name: DomainName, port: Int) -> Bool {
        name == ownName && ownAddresses.contains { $0.port == port }
    }

    /// Where connections for a sender's mail come from; each part that isn't said for its domain is the general one.
    func source(of sender: MailAddress?) -> RemoteRelayConfiguration.Source {
        guard let own = sender.flatMap({ sources[$0.domain] }) else { return standardSource }
        return .init(
            ipv4: own.ipv4 ?? standardSource.ipv4,
            ipv6: own.ipv6 ?? standardSource.ipv6,
            hostname: own.hostname,
            ipv4Hostname: own.ipv4Hostname ?? own.hostname ?? standardSource.ipv4Hostname,
            ipv6Hostname: own.ipv6Hostname ?? own.hostname ?? standardSource.ipv6Hostname
        )
    }

    /// The shortest time between the beginnings of two deliveries to an address of the host.
    func interval(of target: Target) -> TimeAmount? {
        target.name.flatMap { hostIntervals[$0] } ?? standardHostInterval
    }

    /// The pair of `[tls.pairs.NAME]` that a host is shown where it asks for a certificate: by the route, the line of the domain, or that of
    /// the host; nil for none.
    func clientCertificate(for target: Target, of domain: String?) -> String? {
        let name =
            target.route?.clientCertificate ?? domain.flatMap { rules[$0]?.clientCertificate }
            ?? target.name.flatMap { rules[$0]?.clientCertificate } ?? standardClientCertificate
        return name?.isEmpty == true ? nil : name
    }

    /// What the administrator wants of TLS with a host: the strictest line of those for the route, the domain and the host.
    ///
    /// - Returns: the rule, and whether there is no such line.
    func rule(for target: Target, of domain: String?) -> (rule: RelayTLSRule, isStandard: Bool) {
        var found = [target.route?.tls, domain.flatMap { rules[$0] }].compactMap(\.self)
        // Secrets are for one host alone, whatever is wanted for the domain.
        if target.route?.credentials != nil, target.route?.tls == nil { found.append(RelayTLSRule(.verify)) }
        if let ofHost = target.name.flatMap({ rules[$0] }) {
            // Somebody in between may have made up the host's name: then its line can't ask for less.
            if target.isAssured || ofHost.level > (found.map(\.level).max() ?? standardRule.level) {
                found.append(ofHost)
            }
        }
        if found.isEmpty, target.isSocket { found = [RelayTLSRule(.none)] }
        guard var strictest = found.max(by: { $0.level < $1.level }) else {
            // A route of implicit TLS has TLS, whatever the general setting is.
            let isFloor = target.route?.isImplicitTLS == true && standardRule.level < .encrypt
            return (isFloor ? RelayTLSRule(.encrypt) : standardRule, !isFloor)
        }
        // What is loose for one name takes nothing from what is strict for another.
        strictest.usesPublished =
            strictest.level == .daneOnly
            || found.contains { $0.level == strictest.level && $0.usesPublished }
        let needs = target.route?.isImplicitTLS == true || target.route?.credentials != nil
        if needs, strictest.level < .encrypt { strictest.level = .encrypt }
        return (strictest, false)
    }
}

extension RemoteRelayConfiguration.Source {
    /// For a connection to an address.
    func address(for target: SocketAddress) -> SocketAddress? {
        switch target.protocol {
        case .inet6: ipv6
        case .inet: ipv4
        default: nil
        }
    }

    /// Our name on a connection to an address; nil for the general one.
    func hostname(for target: SocketAddress) -> String? {
        switch target.protocol {
        case .inet6: ipv6Hostname ?? hostname
        case .inet: ipv4Hostname ?? hostname
        default: hostname
        }
    }
}
