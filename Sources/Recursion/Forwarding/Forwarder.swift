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
    /// Which of them failed at which questions.
    private var faults = ServerFaults(limit: 1 << 18)
    private let clock: @Sendable () -> Int64

    private static let maximumAttempts = 12
    /// For how long others are asked first what one failed at, or gave something bogus to. Seconds.
    private static let failureTime: Int64 = 30
    private static let bogusTime: Int64 = 300

    /// - Parameters:
    ///   - timeout: all attempts together.
    ///   - minimumPatience: the least that an attempt waits.
    ///   - tls: for those that are asked by DNS over TLS; whose certificates count.
    ///   - clock: seconds since some moment.
    init(
        on loop: any EventLoop,
        timeout: TimeAmount,
        minimumPatience: TimeAmount,
        tls: TLSContext?,
        logger: Logger,
        clock: @escaping @Sendable () -> Int64
    ) {
        self.loop = loop
        self.clock = clock
        self.timeout = timeout
        self.minimumPatience = minimumPatience
        self.tls = tls
        self.logger = logger
    }

    /// What the servers say; a failure when none gives a usable answer in time.
    ///
    /// - Parameter avoided: those that aren't asked, because their answers were bogus.
    func ask(
        _ key: Outcome.Key,
        _ servers: [ForwarderAddress],
        avoiding avoided: [SocketAddress] = [],
        mayFollow: @escaping (DomainName) -> Bool
    ) async -> Outcome {
        let deadline = NIODeadline.now() + timeout
        let question = Question(name: key.name, type: key.type)
        let scrubber = Scrubber(question: question, mayFollow: mayFollow)
        let failing = faults.servers(failingAt: key, now: clock())
        // As if they had been asked once, so that the others come first.
        var attempts: [ForwarderAddress: Int] = [:]
        for server in servers where failing.contains(server.address) { attempts[server] = 1 }
        var failure = ExtendedError(code: ExtendedError.noReachableAuthorityCode, text: "no answer")
        var useless = Set(servers.filter { avoided.contains($0.address) })
        for _ in 0..<Self.maximumAttempts {
            let left = deadline - .now()
            guard left > .zero, let server = choose(servers.filter { !useless.contains($0) }, attempts) else { break }
            let upstream = upstream(server)
            let attempt = attempts[server, default: 0]
            attempts[server] = attempt + 1
            let patience = min(upstream.timeout(afterAttempts: attempt), left)
            let reply = await upstream.exchange(
                key,
                recursionDesired: true,
                patience: patience,
                deadline: deadline
            ) { true }
            switch reply {
            case .answer(let message):
                if var outcome = scrubber.scrub(message) {
                    outcome.server = server.address
                    return outcome
                }
                faults.note(server.address, key, until: clock() + Self.failureTime, now: clock())
                failure.text = "\(upstream.address.ipAddress ?? "a server") answered \(message.responseCode)"
                useless.insert(server)
                upstream.punish()
            case .retry: break
            case .nothing(let why), .unreachable(let why), .unusable(let why), .cut(let why):
                failure.text = why
                if upstream.link != nil { failure.code = ExtendedError.networkErrorCode }
                upstream.punish()
            }
        }
        return .failure(failure)
    }

    /// What a server said to a question is bogus: others are asked first from now on.
    func doubt(_ server: SocketAddress, _ key: Outcome.Key) {
        faults.note(server, key, until: clock() + Self.bogusTime, now: clock())
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
