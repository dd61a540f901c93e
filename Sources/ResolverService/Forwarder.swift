import DNS
import NIOCore

/// Asks other resolvers: the fastest first, again with more patience and elsewhere where no answer comes. On one event
/// loop.
final class Forwarder {
    private let loop: any EventLoop
    private let timeout: TimeAmount
    private let minimumPatience: TimeAmount
    private var upstreams: [SocketAddress: Upstream] = [:]

    private static let maximumAttempts = 12

    /// - Parameters:
    ///   - timeout: all attempts together.
    ///   - minimumPatience: the least that an attempt waits.
    init(on loop: any EventLoop, timeout: TimeAmount, minimumPatience: TimeAmount) {
        self.loop = loop
        self.timeout = timeout
        self.minimumPatience = minimumPatience
    }

    /// What the servers say; a failure when none gives a usable answer in time.
    func ask(_ key: Outcome.Key, _ servers: [SocketAddress], mayFollow: @escaping (DomainName) -> Bool) async -> Outcome
    {
        let deadline = NIODeadline.now() + timeout
        let question = Question(name: key.name, type: key.type)
        let scrubber = Scrubber(question: question, dnssecOK: key.dnssecOK, mayFollow: mayFollow)
        var attempts: [SocketAddress: Int] = [:]
        var reason = "no answer"
        var useless: Set<SocketAddress> = []
        for _ in 0..<Self.maximumAttempts {
            let left = deadline - .now()
            guard left > .zero, let upstream = choose(servers.filter { !useless.contains($0) }, attempts) else { break }
            let attempt = attempts[upstream.address, default: 0]
            attempts[upstream.address] = attempt + 1
            let patience = min(upstream.timeout(afterAttempts: attempt), left)
            switch await upstream.exchange(key, recursionDesired: true, patience: patience, deadline: deadline) {
            case .answer(let message):
                if let outcome = scrubber.scrub(message) { return outcome }
                reason = "\(upstream.address.ipAddress ?? "a server") answered \(message.responseCode)"
                useless.insert(upstream.address)
                upstream.punish()
            case .retry: break
            case .nothing(let why):
                reason = why
                upstream.punish()
            }
        }
        return .failure(ExtendedError(code: ExtendedError.noReachableAuthorityCode, text: reason))
    }

    /// One of those that were asked least.
    private func choose(_ servers: [SocketAddress], _ attempts: [SocketAddress: Int]) -> Upstream? {
        let fewest = servers.map { attempts[$0, default: 0] }.min() ?? 0
        return Upstream.choose(servers.filter { attempts[$0, default: 0] == fewest }.map(upstream), \.self)
    }

    private func upstream(_ address: SocketAddress) -> Upstream {
        if let known = upstreams[address] { return known }
        let upstream = Upstream(address, on: loop, minimumPatience: minimumPatience)
        upstreams[address] = upstream
        return upstream
    }

    var known: some Collection<Upstream> { upstreams.values }

    func close() {
        for upstream in upstreams.values { upstream.close() }
        upstreams = [:]
    }
}
