import DNS
import Daemon
import NIOCore
import NIOPosix
import Network
import Policy
import Resolution
import SMTPServer

/// Whether the DNS says of this host and its domains what other mail systems need to hear, as resolverd sees it.
struct DNSCheck {
    private let configuration: Configuration

    init(_ configuration: Configuration) { self.configuration = configuration }

    func findings() async -> [Finding] {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return await Task(executorPreference: LoopExecutor.of(loop)) {
            let resolver = StubResolver(path: "run/dns.sock", on: loop, timeout: .seconds(5))
            defer { resolver.close() }
            do {
                var findings = [try await self.host(resolver)]
                for domain in self.configuration.domains { findings.append(try await self.domain(domain, resolver)) }
                return findings + (await self.lists(resolver, on: loop))
            } catch {
                return [.doubtful("dns", "resolverd does not answer: \(error)", mend: "start resolverd")]
            }
        }.value
    }

    /// Whether the lists that clients are looked up in work as lists do (RFC 5782 §5).
    private func lists(_ resolver: StubResolver, on loop: any EventLoop) async -> [Finding] {
        let lookup = ResolverLookup(on: loop) { (name, type) throws(ResolutionError) in
            try await resolver.query(name, type)
        }
        var findings: [Finding] = []
        for list in ServerSettings(configuration).dnsLists {
            switch await list.trial(lookup) {
            case .success: findings.append(.fine("dns-lists", "\(list.name) answers as a list"))
            case .failure(let fault):
                let mend = "remove [smtpd.dns-lists.\(list.name)]: smtpd ignores it, too"
                findings.append(.wrong("dns-lists", "\(list.name): \(fault)", mend: mend))
            case nil:
                let mend = "if that stays so, see whether the list answers you, or remove it"
                findings.append(.doubtful("dns-lists", "\(list.name) does not answer now", mend: mend))
            }
        }
        return findings
    }

    private func host(_ resolver: StubResolver) async throws(ResolutionError) -> Finding {
        let hostname = configuration.hostname
        guard let name = try? DomainName(hostname) else {
            return .wrong("dns", "\(hostname) is not a domain name", mend: "correct \"hostname\"")
        }
        for type in [RecordType.a, .aaaa] {
            let resolution = try await resolver.query(name, type)
            if resolution.answers.contains(where: { $0.type == type }) {
                return .fine("dns", "\(hostname) has an address")
            }
        }
        return .doubtful("dns", "\(hostname) has no address", mend: "publish A or AAAA records for \(hostname)")
    }

    private func domain(_ domain: String, _ resolver: StubResolver) async throws(ResolutionError) -> Finding {
        guard let name = try? DomainName(domain), let own = try? DomainName(configuration.hostname) else {
            return .wrong("dns", "\(domain) is not a domain name", mend: "correct \"domains\"")
        }
        let exchanges = try await resolver.query(name, .mx).answers.compactMap { MailExchange($0) }
        if exchanges.contains(where: { $0.exchange == own }) {
            return .fine("dns", "\(domain) has this host as a mail exchange")
        }
        let mend = "publish an MX record: \(domain). MX 10 \(configuration.hostname)."
        if exchanges.isEmpty { return .doubtful("dns", "\(domain) has no MX record", mend: mend) }
        return .doubtful("dns", "no MX record of \(domain) names \(configuration.hostname)", mend: mend)
    }
}
