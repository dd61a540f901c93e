import DNS
import NIOCore

extension Upstream {
    /// How an exchange with one server ended, whatever it took: without EDNS, over TCP.
    enum Reply {
        case answer(DNSMessage)
        /// The same server is worth another attempt, asked otherwise.
        case retry
        case nothing(String)
    }

    /// Asks by UDP for at most `patience`, and by TCP until the deadline where the answer is cut or in doubt.
    ///
    /// - Parameter recursionDesired: RD: set for resolvers, not for the servers of zones.
    func exchange(
        _ key: Outcome.Key,
        recursionDesired: Bool,
        patience: TimeAmount,
        deadline: NIODeadline
    ) async -> Reply {
        if let link { return await exchange(by: link, key, recursionDesired, patience, deadline) }
        // Made for errors only.
        var host: String { address.ipAddress ?? "a server" }
        // Twice, since the first answer may only bring another cookie (RFC 7873 §5.3).
        for _ in 0..<2 {
            let query = query(key, recursionDesired)
            switch await ask(query, timeout: patience) {
            case .answer(let message):
                if query.hasEDNS, message.refusesEDNS {
                    if query.cookie != nil { cookies.avoid() } else { avoidEDNS() }
                    return .retry
                }
                if query.cookie != nil { cookies.learn(message) }
                if message.responseCode == .badCookie { continue }
                if message.flags.isTruncated { return await exchangeByStream(key, recursionDesired, deadline) }
                return .answer(message)
            case .doubtful: return await exchangeByStream(key, recursionDesired, deadline)
            case .malformed: return .nothing("\(host) answered garbage")
            case .timedOut: return .nothing("\(host) did not answer in time")
            case .unreachable: return .nothing("\(host) is not reachable")
            }
        }
        return await exchangeByStream(key, recursionDesired, deadline)
    }

    private func query(_ key: Outcome.Key, _ recursionDesired: Bool) -> UpstreamQuery {
        UpstreamQuery(
            key,
            withEDNS: takesEDNS,
            recursionDesired: recursionDesired,
            cookie: cookies.option,
            random: random
        )
    }

    private func exchangeByStream(
        _ key: Outcome.Key,
        _ recursionDesired: Bool,
        _ deadline: NIODeadline
    ) async -> Reply {
        let left = max(deadline - .now(), .milliseconds(1))
        guard let message = await askByStream(timeout: left, { query(key, recursionDesired) }),
            !message.flags.isTruncated
        else {
            return .nothing("\(address.ipAddress ?? "a server") did not answer over TCP")
        }
        cookies.learn(message)
        return .answer(message)
    }

    /// How long an answer over a connection is waited for at least: nothing gets lost there that were worth asking again.
    private static let linkPatience = TimeAmount.seconds(2)

    private func exchange(
        by link: UpstreamLink,
        _ key: Outcome.Key,
        _ recursionDesired: Bool,
        _ patience: TimeAmount,
        _ deadline: NIODeadline
    ) async -> Reply {
        var host: String { address.ipAddress ?? "a server" }
        let start = NIODeadline.now()
        let left = max(deadline - start, .milliseconds(1))
        let withEDNS = takesEDNS
        let result = await link.exchange(timeout: min(max(patience, Self.linkPatience), left)) {
            UpstreamQuery(
                key,
                withEDNS: withEDNS,
                recursionDesired: recursionDesired,
                isPadded: link.isEncrypted,
                random: random
            )
        }
        switch result {
        case .answer(let message):
            note(.now() - start)
            if withEDNS, message.refusesEDNS {
                avoidEDNS()
                return .retry
            }
            return message.flags.isTruncated ? .nothing("\(host) cut an answer for no reason") : .answer(message)
        case .malformed: return .nothing("\(host) answered garbage")
        case .timedOut: return .nothing("\(host) did not answer in time")
        case .lost: return .retry
        case .unreachable(let reason): return .nothing("\(host): \(reason)")
        }
    }
}

extension DNSMessage {
    /// Whether it may be that the server doesn't understand EDNS.
    fileprivate var refusesEDNS: Bool { responseCode == .formatError || responseCode == .notImplemented }
}
