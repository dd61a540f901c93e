import DNS
import NIOCore

/// What the answer of a zone's server means (RFC 1034 §5.3.3, RFC 2308 §2.2).
enum ResponseKind {
    /// The answer, or that there is none.
    case answer
    /// The same without authority: better than nothing.
    case unauthoritativeAnswer
    /// Others serve the name.
    case referral(Delegation)
    /// The server has nothing to say about the zone.
    case useless(String)

    /// - Parameters:
    ///   - zone: the zone whose server was asked: nothing outside of it is believed.
    ///   - port: where servers of zones listen.
    ///   - now: the resolver's clock.
    init(_ message: DNSMessage, _ key: Outcome.Key, zone: Delegation, port: Int, limits: TimeLimits, now: Int64) {
        switch message.responseCode {
        case .nameError, .nameExists: self = Self.answer(message)
        case .noError: self = Self.classify(message, key, zone, port, limits, now)
        default: self = .useless("answered \(message.responseCode)")
        }
    }

    private static func classify(
        _ message: DNSMessage,
        _ key: Outcome.Key,
        _ parent: Delegation,
        _ port: Int,
        _ limits: TimeLimits,
        _ now: Int64
    ) -> ResponseKind {
        let zone = parent.zone
        let answers = message.answers.contains { record in
            record.class == .internet && (record.name == key.name || key.name.isSubdomain(of: record.name))
        }
        if answers { return answer(message) }
        let authorities = message.authorities.filter { $0.class == .internet && $0.name.isSubdomain(of: zone) }
        if authorities.contains(where: { $0.type == .soa && key.name.isSubdomain(of: $0.name) }) {
            return answer(message)
        }
        let servers = authorities.filter { record in
            record.type == .ns && key.name.isSubdomain(of: record.name) && record.name.labelCount > zone.labelCount
        }
        guard let cut = servers.first?.name, key.type != .ds || cut != key.name else {
            // That there is nothing, without an SOA record; or a server that knows nothing of the zone.
            let isReferral = message.authorities.contains { $0.type == .ns }
            if isReferral, !message.flags.isAuthoritative { return .useless("refers elsewhere than below \(zone)") }
            return answer(message)
        }
        let set = servers.filter { $0.name == cut }
        return .referral(delegation(cut, set, message, parent, port, limits, now))
    }

    private static func answer(_ message: DNSMessage) -> ResponseKind {
        message.flags.isAuthoritative ? .answer : .unauthoritativeAnswer
    }

    private static func delegation(
        _ cut: DomainName,
        _ servers: [ResourceRecord],
        _ message: DNSMessage,
        _ parent: Delegation,
        _ port: Int,
        _ limits: TimeLimits,
        _ now: Int64
    ) -> Delegation {
        let zone = parent.zone
        var hosts: [DomainName] = []
        for host in servers.compactMap(\.target) where !hosts.contains(host) {
            hosts.append(host)
            if hosts.count == 2 * Delegation.maximumHosts { break }
        }
        let wanted = Set(hosts)
        var addresses: [DomainName: [SocketAddress]] = [:]
        for record in message.additionals
        where record.class == .internet && record.name.isSubdomain(of: zone) && wanted.contains(record.name) {
            guard let address = record.socketAddress(port: port),
                addresses[record.name, default: []].count < Delegation.maximumAddresses
            else { continue }
            addresses[record.name, default: []].append(address)
        }
        let lifetime = min(servers.shortestLife() ?? 0, limits.positive)
        return Delegation(
            zone: cut,
            hosts: hosts,
            addresses: addresses,
            proof: proof(cut, message.authorities, zone),
            // What was learnt through a delegation ends with it: else a name that its parent took away could keep itself
            // alive for ever through names below it (phoenix domains).
            expires: min(now + Int64(max(lifetime, 1)), parent.expires)
        )
    }

    /// DS records, or NSEC and NSEC3 records that say that there are none, with their signatures.
    private static func proof(_ cut: DomainName, _ records: [ResourceRecord], _ zone: DomainName) -> [ResourceRecord] {
        Array(
            records.lazy.filter { record in
                switch record.type {
                case .ds: record.name == cut
                case .nsec, .nsec3, .rrsig: record.name.isSubdomain(of: zone)
                default: false
                }
            }
            .prefix(24)
        )
    }
}
