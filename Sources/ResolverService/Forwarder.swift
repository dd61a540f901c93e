import DNS
import Daemon
import Logging
import NIOCore
import TLS

/// Asks other resolvers: the fastest first, again with more patience and elsewhere where no answer comes. On one event
/// loop.
final class Forwarder {
    private let loop: any EventLoop
    private let timeout: TimeAmount
    private let minimumPatience: TimeAmount
    private let tls: TLSContext?
    private let logger: Logger
    private var upstreams: [ForwarderAddress: Upstream] = [:]

    private static let maximumAttempts = 12

    /// - Parameters:
    ///   - timeout: all attempts together.
    ///   - minimumPatience: the least that an attempt waits.
    ///   - tls: for those that are asked by DNS over TLS; whose certificates count.
    init(on loop: any EventLoop, timeout: TimeAmount, minimumPatience: TimeAmount, tls: TLSContext?, logger: Logger) {
        self.loop = loop
        self.timeout = timeout
        self.minimumPatience = minimumPatience
        self.tls = tls
        self.logger = logger
    }

    /// What the servers say; a failure when none gives a usable answer in time.
    func ask(
        _ key: Outcome.Key,
        _ servers: [ForwarderAddress],
        mayFollow: @escaping (DomainName) -> Bool
    ) async -> Outcome {
        let deadline = NIODeadline.now() + timeout
        let question = Question(name: key.name, type: key.type)
        let scrubber = Scrubber(question: question, dnssecOK: key.dnssecOK, mayFollow: mayFollow)
        var attempts: [ForwarderAddress: Int] = [:]
        var failure = ExtendedError(code: ExtendedError.noReachableAuthorityCode, text: "no answer")
        var useless: Set<ForwarderAddress> = []
        for _ in 0..<Self.maximumAttempts {
            let left = deadline - .now()
            guard left > .zero, let server = choose(servers.filter { !useless.contains($0) }, attempts) else { break }
            let upstream = upstream(server)
            let attempt = attempts[server, default: 0]
            attempts[server] = attempt + 1
            let patience = min(upstream.timeout(afterAttempts: attempt), left)
            switch await upstream.exchange(key, recursionDesired: true, patience: patience, deadline: deadline) {
            case .answer(let message):
                if let outcome = scrubber.scrub(message) { return outcome }
                failure.text = "\(upstream.address.ipAddress ?? "a server") answered \(message.responseCode)"
                useless.insert(server)
                upstream.punish()
            case .retry: break
            case .nothing(let why):
                failure.text = why
                if upstream.link != nil { failure.code = ExtendedError.networkErrorCode }
                upstream.punish()
            }
        }
        return .failure(failure)
    }

    /// One of those that were asked least.
    private func choose(_ servers: [ForwarderAddress], _ attempts: [ForwarderAddress: Int]) -> ForwarderAddress? {
        let fewest = servers.map { attempts[$0, default: 0] }.min() ?? 0
        return Upstream.choose(servers.filter { attempts[$0, default: 0] == fewest }, upstream)
    }

    private func upstream(_ server: ForwarderAddress) -> Upstream {
        if let known = upstreams[server] { return known }
        let upstream = Upstream(server.address, on: loop, minimumPatience: minimumPatience, link: link(server))
        upstreams[server] = upstream
        return upstream
    }

    private func link(_ server: ForwarderAddress) -> UpstreamLink? {
        let label = server.description
        switch server.transport {
        case .udp: return nil
        case .tcp: return UpstreamLink(server.address, label: label, .none, on: loop, logger: logger)
        case .tls:
            let name = server.name ?? server.address.ipAddress ?? ""
            let security = tls.map { UpstreamLink.Security.verified($0, name: name) } ?? .missing
            return UpstreamLink(server.address, label: label, security, on: loop, logger: logger)
        }
    }

    /// The servers that were asked.
    var known: [ForwarderAddress: Upstream] { upstreams }

    func close() {
        for upstream in upstreams.values { upstream.close() }
        upstreams = [:]
    }
}
