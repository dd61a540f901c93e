import CoreMetrics
import DNS
import NIOCore

extension QueryEngine.Client {
    /// Whether somebody else may have sent the query in its name: it came by UDP, without a good cookie, and isn't from
    /// where nobody else can send.
    func isForgeable(_ options: AnswerOptions) -> Bool { isDatagram && standing.isLimited && !options.isProven }
}

/// The limits between clients and answers, on one event loop.
final class ClientGate {
    private let counters: ResolverCounters
    private var limiter: ResponseRateLimiter
    private var waiting: WaitingClients

    /// A question that waits.
    struct Wait {
        fileprivate let network: ClientNetwork?
        fileprivate let mayBeLate: Bool
        fileprivate let since = NIODeadline.now()
    }

    init(_ settings: ResolverSettings, _ counters: ResolverCounters) {
        self.counters = counters
        limiter = ResponseRateLimiter(settings.rateLimits)
        waiting = WaitingClients(maximum: settings.maximumPendingPerClient)
    }

    /// What becomes of an answer to a client that may not have asked.
    func judge(_ client: ClientStanding, topic: UInt64) -> ResponseRateLimiter.Verdict {
        let now = UInt32(truncatingIfNeeded: NIODeadline.now().uptimeNanoseconds / 1_000_000)
        let verdict = limiter.judge(client.network, kind: topic, now: now)
        if verdict != .send { counters.limited.increment() }
        return verdict
    }

    /// Whether nonsense is answered.
    func mayAnswerMalformed(_ client: QueryEngine.Client) -> Bool {
        guard client.isForgeable(AnswerOptions()) else { return true }
        return judge(client.standing, topic: AnswerTopic.malformed) == .send
    }

    /// Counts a question that begins to wait; nil where too many of its client do.
    ///
    /// - Parameter isProven: whether the client has shown that it's where it says; on a stream it always is.
    func begin(_ client: QueryEngine.Client, isProven: Bool) -> Wait? {
        // The machine's own programs have their limits in the connections that they may have.
        guard client.address != nil else { return Wait(network: nil, mayBeLate: true) }
        let isProven = isProven || !client.isDatagram
        guard waiting.begin(client.standing.network, isProven: isProven) else {
            counters.crowded.increment()
            return nil
        }
        return Wait(network: client.standing.network, mayBeLate: isProven)
    }

    /// A question waits no more; whether its answer may still be sent.
    func end(_ wait: Wait) -> Bool {
        guard let network = wait.network else { return true }
        let isTimely = waiting.end(network, since: wait.since)
        guard isTimely || wait.mayBeLate else {
            counters.late.increment()
            return false
        }
        return true
    }
}

/// What an answer is about, as it's counted for limits: a positive one by its name, one that there is nothing by its
/// zone, since names are to be had without end, and errors together.
enum AnswerTopic {
    static let malformed = UInt64.random(in: .min ... .max)

    static func of(_ response: DNSMessage) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(response.responseCode)
        if response.responseCode == .noError || response.responseCode == .nameError {
            let isPositive = !response.answers.isEmpty
            hasher.combine(isPositive)
            let question = response.questions.first?.name
            hasher.combine(isPositive ? question : response.authorities.first?.name ?? question?.parent)
        }
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}
