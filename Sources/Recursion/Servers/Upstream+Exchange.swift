import DNS
import NIOCore

extension Upstream {
    /// How an exchange with one server ended, whatever it took: without EDNS, over TCP.
    enum Reply {
        case answer(DNSMessage)
        /// The same server is worth another attempt, asked otherwise.
        case retry
        case nothing(String)
        /// The server is there, but what it said to this question can't be read, or isn't to be had as a whole.
        case unusable(String)
        /// The server is there, but its answer is cut, or in doubt, and by TCP it's not to be had in time.
        case cut(String)
        /// Nothing could be sent there.
        case unreachable(String)
    }

    /// Asks by UDP for at most `patience`, and by TCP where the answer is cut or in doubt: for half of what is left
    /// until the deadline, two seconds at most.
    ///
    /// - Parameters:
    ///   - recursionDesired: RD: set for resolvers, not for the servers of zones.
    ///   - again: whether the question may cost one more query.
    func exchange(
        _ key: Outcome.Key,
        recursionDesired: Bool,
        patience: TimeAmount,
        deadline: NIODeadline,
        again: () -> Bool
    ) async -> Reply {
        if let link { return await exchange(by: link, key, recursionDesired, patience, deadline, again) }
        var form = usualForm
        // What the first form was answered, where that may be the form's fault.
        var first: DNSMessage?
        var hasNewCookie = false
        while true {
            let reply = await exchange(key, form, recursionDesired, patience, deadline)
            guard case .answer(let message) = reply else { return first.map(Reply.answer) ?? reply }
            if message.edns != nil { hasShownEDNS = true }
            if message.responseCode == .badCookie {
                // Once more with the cookie that came (RFC 7873 §5.3).
                guard case .cookie = form, let option = cookies.option, !hasNewCookie, again() else {
                    return await exchangeByStream(key, recursionDesired, deadline)
                }
                hasNewCookie = true
                form = .cookie(option)
                continue
            }
            // Asked otherwise the server may answer: only then the form was to blame, and not the question.
            guard message.refusesEDNS, let simpler = form.simpler(understandsEDNS: message.edns != nil) else {
                if let first, message.refusesEDNS { return .answer(first) }
                if first != nil { blame(form) }
                return reply
            }
            first = first ?? message
            guard again() else { return .answer(message) }
            form = simpler
        }
    }

    /// A simpler form of query was answered where the others were not.
    private func blame(_ form: QueryForm) {
        switch form {
        case .cookie: break
        case .edns: cookies.avoid()
        // Who has shown that it understands EDNS isn't asked without it because of one question.
        case .plain: if !hasShownEDNS { avoidEDNS() }
        }
    }

    /// One query, and another by TCP where the answer is cut or in doubt.
    private func exchange(
        _ key: Outcome.Key,
        _ form: QueryForm,
        _ recursionDesired: Bool,
        _ patience: TimeAmount,
        _ deadline: NIODeadline
    ) async -> Reply {
        // Made for errors only.
        var host: String { address.ipAddress ?? "a server" }
        let query = UpstreamQuery(key, form, recursionDesired: recursionDesired, random: random)
        switch await ask(query, timeout: patience) {
        case .answer(let message):
            if query.cookie != nil, !message.refusesEDNS { cookies.learn(message) }
            guard message.flags.isTruncated else { return .answer(message) }
            return await exchangeByStream(key, recursionDesired, deadline)
        case .doubtful: return await exchangeByStream(key, recursionDesired, deadline)
        case .malformed: return .unusable("\(host) answered garbage")
        case .timedOut: return .nothing("\(host) did not answer in time")
        case .unreachable: return .unreachable("\(host) is not reachable")
        }
    }

    /// The form of a query where nothing speaks against the best.
    private var usualForm: QueryForm { takesEDNS ? cookies.option.map(QueryForm.cookie) ?? .edns : .plain }

    /// How long an answer over TCP is waited for at most, where UDP wouldn't do.
    private static let streamPatience = TimeAmount.seconds(2)

    private func exchangeByStream(
        _ key: Outcome.Key,
        _ recursionDesired: Bool,
        _ deadline: NIODeadline
    ) async -> Reply {
        // Made for errors only.
        var host: String { address.ipAddress ?? "a server" }
        // Never all that is left: others are to have their turn where nobody is there for TCP.
        let half = TimeAmount.nanoseconds((deadline - .now()).nanoseconds / 2)
        let form = usualForm
        let made = await askByStream(timeout: max(min(half, Self.streamPatience), .milliseconds(1))) {
            UpstreamQuery(key, form, recursionDesired: recursionDesired, random: random)
        }
        guard let message = made else { return .cut("\(host) did not answer over TCP") }
        guard !message.flags.isTruncated else { return .unusable("\(host) cut an answer for no reason") }
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
        _ deadline: NIODeadline,
        _ again: () -> Bool
    ) async -> Reply {
        var host: String { address.ipAddress ?? "a server" }
        var form = takesEDNS ? QueryForm.edns : .plain
        var first: DNSMessage?
        while true {
            let start = NIODeadline.now()
            let left = max(deadline - start, .milliseconds(1))
            let asked = form
            let result = await link.exchange(timeout: min(max(patience, Self.linkPatience), left)) {
                UpstreamQuery(
                    key,
                    asked,
                    recursionDesired: recursionDesired,
                    isPadded: link.isEncrypted,
                    random: random
                )
            }
            let failure: Reply
            switch result {
            case .answer(let message):
                note(.now() - start)
                if message.edns != nil { hasShownEDNS = true }
                guard message.refusesEDNS, let simpler = form.simpler(understandsEDNS: message.edns != nil), again()
                else {
                    if let first, message.refusesEDNS { return .answer(first) }
                    if first != nil { blame(form) }
                    return message.flags.isTruncated
                        ? .unusable("\(host) cut an answer for no reason") : .answer(message)
                }
                first = first ?? message
                form = simpler
                continue
            case .malformed: failure = .unusable("\(host) answered garbage")
            case .timedOut: failure = .nothing("\(host) did not answer in time")
            case .lost: failure = .retry
            case .unreachable(let reason): failure = .unreachable("\(host): \(reason)")
            }
            return first.map(Reply.answer) ?? failure
        }
    }
}

/// What a query has beside its question.
enum QueryForm {
    /// EDNS with a cookie.
    case cookie(CookieOption)
    case edns
    /// As RFC 1035 has it.
    case plain

    /// What may be understood where this isn't.
    ///
    /// - Parameter understandsEDNS: whether the refusal itself has an OPT record.
    func simpler(understandsEDNS: Bool) -> QueryForm? {
        switch self {
        case .cookie: .edns
        case .edns: understandsEDNS ? nil : .plain
        case .plain: nil
        }
    }
}

extension DNSMessage {
    /// Whether it may be that the server doesn't understand EDNS.
    fileprivate var refusesEDNS: Bool { responseCode == .formatError || responseCode == .notImplemented }
}
