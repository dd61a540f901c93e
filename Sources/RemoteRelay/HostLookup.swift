import DNS
import Deliverer
import Logging
import MIME
import NIOCore
import Network
import Resolution
import SMTP
import Daemon

/// One address that a message may be sent to.
struct Target: Sendable, Equatable {
    /// The host's name, or its address as text where there is no name.
    let host: String
    let address: SocketAddress
    /// Nobody on the way could have said that it's this host: DNSSEC, our own zone, or the administrator has (RFC 8689 §4.2.1).
    var isAssured = false
    /// What the host has published of its certificates.
    var associations = HostAssociations.nothing
    /// The route that leads there; nil for what the DNS says.
    var route: RelayHosts?
    /// The host's next address where that is of the other family: for when this one doesn't answer at once.
    var rival: SocketAddress?

    /// The host's name for TLS; nil where it has none (RFC 6066 §3 allows no addresses).
    var name: String? { host.first == "[" || host == address.ipAddress || isSocket ? nil : host }

    /// Whether it's a socket of this machine; `host` is then its path.
    var isSocket: Bool { address.pathname != nil }

    /// The same host at another address.
    func moved(to address: SocketAddress) -> Target {
        var moved = Target(host: host, address: address)
        moved.isAssured = isAssured
        moved.associations = associations
        moved.route = route
        return moved
    }

    /// This address, where it's the same host's and of the other family.
    func rival(of other: Target) -> SocketAddress? {
        guard host == other.host, !isSocket, !other.isSocket, address.protocol != other.address.protocol else {
            return nil
        }
        return address
    }

    /// For results.
    var remote: RemoteHost {
        isSocket
            ? RemoteHost(name: host, address: "")
            : RemoteHost(name: name, address: address.ipAddress ?? "", port: address.port)
    }
}

/// Finds the addresses that a destination's mail goes to.
final class HostLookup: Sendable {
    let settings: RelaySettings
    private let query: StubResolver.Query
    private let logger: Logger

    /// Addresses that one delivery tries at most.
    private static let maximumTargets = 12

    init(settings: RelaySettings, logger: Logger, query: @escaping StubResolver.Query) {
        self.settings = settings
        self.query = query
        self.logger = logger
    }

    /// The addresses of a destination in the order to try them, or why there are none.
    ///
    /// - Parameter route: where mail goes instead.
    func targets(of destination: String, route: RelayHosts? = nil) async -> Result<[Target], Failure> {
        do throws(Failure) {
            if let route { return .success(try await follow(route)) }
            if let literal = Self.literal(destination, port: settings.port) {
                guard !leadsBack(literal.address) else { throw Self.loop(destination) }
                return .success([literal])
            }
            return .success(try await mailExchanges(of: destination))
        } catch {
            return .failure(error)
        }
    }

    /// Why there is nowhere to send to.
    struct Failure: Error, Equatable {
        let result: DeliveryResult

        /// Trying again won't help.
        static func permanent(_ status: EnhancedStatusCode, _ text: String) -> Failure {
            Failure(result: DeliveryResult(.failed, status, text))
        }

        /// Trying again later may help.
        static func temporary(_ status: EnhancedStatusCode, _ text: String) -> Failure {
            Failure(result: .unreachable(status, text))
        }
    }

    /// The hosts of a route; those whose address isn't known now are left to another time.
    private func follow(_ route: RelayHosts) async throws(Failure) -> [Target] {
        var targets: [Target] = []
        var failure: Failure?
        for host in route.hosts {
            do throws(Failure) {
                targets += try await follow(host).map { found in
                    var target = found
                    target.isAssured = true
                    target.route = route
                    return target
                }
            } catch {
                if error.result.status == .routeLoop { throw error }
                // Nor is any other mistake in a route: its host may have no name that the DNS could have.
                let result = error.result
                failure =
                    failure
                    ?? (result.action.isFinal
                        ? .temporary(.noRoute, "the route to \(host.host): \(result.summary)") : error)
            }
        }
        if targets.isEmpty, let failure { throw failure }
        return Array(targets.prefix(Self.maximumTargets))
    }

    private func follow(_ route: RelayHost) async throws(Failure) -> [Target] {
        if let name = route.socket {
            guard let address = try? SocketAddress(unixDomainSocketPath: settings.runDirectory + name) else {
                throw .temporary(.noRoute, "the path of run/\(name) is too long")
            }
            return [Target(host: "run/\(name)", address: address)]
        }
        if let address = try? SocketAddress(ipAddress: route.host, port: route.port).unmapped {
            guard !settings.isOwn(address) else { throw Self.loop(route) }
            return [Target(host: route.host, address: address)]
        }
        let host = try name(route.host)
        if settings.isOwn(host, port: route.port) { throw Self.loop(route) }
        let found = try await addresses(of: host, port: route.port, nextHop: [])
        if found.contains(where: { settings.isOwn($0.address) }) { throw Self.loop(route) }
        guard !found.isEmpty else {
            throw .temporary(.noRoute, "route host \(route.host) has no address")
        }
        return found
    }

    private func mailExchanges(of destination: String) async throws(Failure) -> [Target] {
        let domain = try name(destination)
        let resolution = try await ask(domain, .mx)
        if resolution.responseCode == .nameError {
            throw .permanent(.noSuchDomain, "the domain \(destination) does not exist")
        }
        // In our own zones loopback addresses are the administrator's word; from others they are a trap.
        let isOurWord = resolution.isFromOurZone && !resolution.answers.contains { $0.type == .cname }
        let exchanges = resolution.answers.compactMap { $0.type == .mx ? MailExchange($0) : nil }
        // The name that aliases lead to counts as the domain's, too (RFC 7672 §3.2.2).
        let aliased = resolution.answers.first { $0.type == .mx }.map { [$0.name] } ?? []
        let nextHop = resolution.isAuthentic ? [domain] + aliased : nil
        guard !exchanges.isEmpty else {
            return try await implicitExchange(domain, isOurWord: isOurWord, nextHop: nextHop)
        }
        var generator = SystemRandomNumberGenerator()
        switch MailExchangeList.order(exchanges, isOurs: isOurs, using: &generator) {
        case .null: throw .permanent(.noMailDomain, "the domain \(destination) takes no mail (null MX)")
        case .loop: throw Self.loop(destination)
        case .hosts(let hosts):
            let isAssured = resolution.isAuthentic || isOurWord
            return try await addresses(of: hosts, destination, isOurWord: isOurWord, nextHop: nextHop).map { found in
                var target = found
                target.isAssured = isAssured
                return target
            }
        }
    }

    /// No MX record: the domain itself is the host (RFC 5321 §5.1).
    private func implicitExchange(
        _ domain: DomainName,
        isOurWord: Bool,
        nextHop: [DomainName]?
    ) async throws(Failure) -> [Target] {
        let found = try await addresses(of: domain, port: settings.port, nextHop: nextHop)
        guard !found.isEmpty else {
            throw .permanent(.noMailDomain, "the domain \(domain) has neither MX nor address records")
        }
        guard let elsewhere = elsewhere(found, isOurWord) else { throw Self.loop(Self.text(domain)) }
        return elsewhere
    }

    private func addresses(
        of hosts: [DomainName],
        _ destination: String,
        isOurWord: Bool,
        nextHop: [DomainName]?
    ) async throws(Failure) -> [Target] {
        var targets: [Target] = []
        var failure: Failure?
        for host in hosts where targets.count < Self.maximumTargets {
            do throws(Failure) {
                let all = try await addresses(of: host, port: settings.port, nextHop: nextHop)
                // This host and those behind it lead back to us.
                guard let found = elsewhere(all, isOurWord) else {
                    // A better host whose address is not known now is no reason to send the mail back.
                    guard !targets.isEmpty || failure != nil else { throw Self.loop(destination) }
                    break
                }
                targets += found
            } catch {
                if error.result.action.isFinal { throw error }
                failure = error
            }
        }
        guard targets.isEmpty else { return Array(targets.prefix(Self.maximumTargets)) }
        throw failure ?? .temporary(.noRoute, "no MX host of \(destination) has an address")
    }

    /// The addresses of a host, IPv6 and IPv4 in turn, with what it has published of its certificates.
    ///
    /// - Parameter nextHop: the names of the domain that has named the host; nil where anybody may have named it.
    private func addresses(
        of host: DomainName,
        port: Int,
        nextHop: [DomainName]?
    ) async throws(Failure) -> [Target] {
        var found: [[SocketAddress]] = []
        var resolutions: [Resolution] = []
        var failure: Failure?
        for type in [RecordType.aaaa, .a] {
            let resolution: Resolution
            do throws(Failure) {
                resolution = try await ask(host, type)
            } catch {
                // One family's servers may fail where the other's answer.
                failure = error
                found.append([])
                continue
            }
            noteAliases(of: host, resolution.answers)
            resolutions.append(resolution)
            found.append(
                resolution.answers.compactMap { $0.type == type ? $0.addressOctets : nil }
                    .compactMap { SocketAddress(octets: $0, port: port)?.unmapped }
            )
        }
        if let failure, found.allSatisfy(\.isEmpty) { throw failure }
        let text = Self.text(host)
        var associations = HostAssociations.nothing
        if let nextHop, settings.usesDANE, !found.allSatisfy(\.isEmpty) {
            associations = await AssociationLookup(query: query)
                .associations(of: host, port: port, addresses: resolutions, nextHop: nextHop)
        }
        let targets = (0..<max(found[0].count, found[1].count)).flatMap { index in
            found.compactMap {
                index < $0.count ? Target(host: text, address: $0[index], associations: associations) : nil
            }
        }
        return Array(targets.prefix(Self.maximumTargets))
    }

    /// The addresses of a domain's host for its policy, as anybody may name them.
    func addresses(ofPolicyHost host: DomainName) async throws(Failure) -> [SocketAddress] {
        try await addresses(of: host, port: 443, nextHop: nil).map(\.address).filter { !leadsBack($0) }
    }

    /// The texts of a name's TXT records; nil where they can't be known now.
    func texts(of name: DomainName) async -> [[UInt8]]? {
        guard let resolution = try? await ask(name, .txt) else { return nil }
        return resolution.answers.compactMap { $0.type == .txt ? $0.texts.map { Array($0.joined()) } : nil }
    }

    /// An MX must not name an alias (RFC 2181 §10.3); many do, and resolverd has followed it.
    private func noteAliases(of host: DomainName, _ answers: [ResourceRecord]) {
        guard let alias = answers.first(where: { $0.type == .cname && $0.name == host }) else { return }
        logger.notice(
            "mail host is an alias",
            metadata: ["host": "\(Self.text(host))", "canonical": "\(alias.target.map(Self.text) ?? "")"]
        )
    }

    private func ask(_ name: DomainName, _ type: RecordType) async throws(Failure) -> Resolution {
        let resolution: Resolution
        do {
            resolution = try await query(name, type)
        } catch {
            throw .temporary(.directoryFailure, "cannot look up \(name) \(type): \(error)")
        }
        guard resolution.responseCode == .noError || resolution.responseCode == .nameError else {
            let code = resolution.responseCode
            throw .temporary(.directoryFailure, "cannot look up \(name) \(type): \(code)")
        }
        return resolution
    }

    private func name(_ text: String) throws(Failure) -> DomainName {
        guard let name = Self.domainName(text) else {
            throw .permanent(.badDestination, "\"\(text)\" is not a domain name")
        }
        return name
    }

    /// A domain as the DNS has it: international names in ASCII (RFC 5891); nil where it's none.
    static func domainName(_ text: String) -> DomainName? {
        let ascii =
            text.utf8.allSatisfy { $0 < 0x80 }
            ? text : InternationalDomain.ascii(Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) }
        return ascii.flatMap { try? DomainName($0) }
    }

    private static func loop(_ destination: String) -> Failure {
        .permanent(.routingLoop, "mail for \(destination) loops back to this host")
    }

    /// The administrator's mistake is no reason to lose mail.
    private static func loop(_ route: RelayHost) -> Failure {
        .temporary(.routeLoop, "the route to \(route.host), port \(route.port), loops back to this host")
    }

    /// Whether an address that somebody's DNS or a sender's literal names is here: our own, or this machine's alone.
    private func leadsBack(_ address: SocketAddress) -> Bool {
        address.isLoopback || address.isUnspecified || settings.isOwn(address)
    }

    /// A host's addresses that may be tried; nil where it is this machine.
    private func elsewhere(_ found: [Target], _ isOurWord: Bool) -> [Target]? {
        if found.contains(where: { settings.isOwn($0.address) }) { return nil }
        if isOurWord { return found }
        let rest = found.filter { !leadsBack($0.address) }
        return rest.isEmpty && !found.isEmpty ? nil : rest
    }

    private func isOurs(_ name: DomainName) -> Bool { name == settings.ownName }

    /// A name without the dot at its end.
    static func text(_ name: DomainName) -> String {
        let text = name.description
        return text.count > 1 && text.last == "." ? String(text.dropLast()) : text
    }

    /// `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
    static func literal(_ text: String, port: Int) -> Target? {
        guard let inner = AddressLiteral.ipAddress(in: text),
            let address = try? SocketAddress(ipAddress: String(inner), port: port)
        else { return nil }
        return Target(host: text, address: address.unmapped)
    }
}

extension EnhancedStatusCode {
    /// The domain does not exist (RFC 3463).
    static let noSuchDomain = EnhancedStatusCode(5, 1, 2)
    /// The domain says that it takes no mail (RFC 7505 §4.2).
    static let noMailDomain = EnhancedStatusCode(5, 1, 10)
    static let badDestination = EnhancedStatusCode(5, 1, 3)
    static let directoryFailure = EnhancedStatusCode(4, 4, 3)
    /// 4.4.6: mail would come back to us, which the administrator can mend.
    static let routeLoop = EnhancedStatusCode(4, 4, 6)
    /// 4.3.5: what is wrong is our own configuration, which the administrator can mend (RFC 3463 §3.4).
    static let misconfigured = EnhancedStatusCode(4, 3, 5)
    /// 4.4.5: the host has all the sessions that it may have (RFC 3463 §3.5).
    static let hostIsBusy = EnhancedStatusCode(4, 4, 5)
    /// 4.7.5: TLS isn't what it has to be (RFC 3463 §3.8).
    static let encryptionNeeded = EnhancedStatusCode(4, 7, 5)
    /// 4.7.8: the host doesn't take our credentials (RFC 4954 §6), which the administrator can mend.
    static let loginFailed = EnhancedStatusCode(4, 7, 8)
}
