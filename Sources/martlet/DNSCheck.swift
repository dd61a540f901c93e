import DNS
import Daemon
import NIOCore
import NIOPosix
import Network
import Resolution

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
                return findings
            } catch {
                return [.doubtful("dns", "resolverd does not answer: \(error)", mend: "start resolverd")]
            }
        }.value
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
