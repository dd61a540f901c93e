import DNS
import MIME
import MailAuth
import NIOCore
import Network
import Reporting
import Resolution
import SMTP

/// Authenticates one message while it streams by: SPF is asked for at its beginning, keys and policies at the end of its
/// header, bodies are hashed as they come, so that at the end little is left to do but compare. Belongs to one event loop.
package final class MessageAuthentication: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// Where a message comes from.
    package struct Origin: Sendable {
        /// Of 4 or 16 octets.
        package let address: [UInt8]
        package let helo: String
        package let sender: ReversePath

        package init(address: [UInt8], helo: String, sender: ReversePath) {
            self.address = address
            self.helo = helo
            self.sender = sender
        }
    }

    private let origin: Origin
    private let policy: AuthenticationPolicy
    private let loop: any EventLoop
    private let lookup: ResolverLookup
    /// What is asked about the client and the sender.
    private let clientLookup: BoundedLookup
    /// Seconds since 1970.
    private let now: Int
    private let hasher = MessageHasher()
    private let queries: [SPFQuery]
    /// What is being found out about the client; nil where the answers are there, so that it can be done at the end.
    private var client: Task<(ReverseNameOutcome, [AuthenticationCheck.SPF]), Never>?
    private var filter: ResultsFilter
    private var isPrefetched = false
    private var message: HashedMessage?

    /// Begins with what needs only the client and the envelope.
    ///
    /// - Parameter now: seconds since 1970.
    package init(
        _ origin: Origin,
        policy: AuthenticationPolicy,
        now: Int,
        on loop: any EventLoop,
        shared: SharedAnswers? = nil,
        query: @escaping StubResolver.Query
    ) {
        loop.assertInEventLoop()
        self.origin = origin
        self.policy = policy
        self.now = now
        self.loop = loop
        let lookup = ResolverLookup(on: loop, shared: shared, query: query)
        self.lookup = lookup
        let clientLookup = BoundedLookup(lookup, on: loop)
        self.clientLookup = clientLookup
        filter = ResultsFilter(authservID: policy.authservID)
        let queries = Self.queries(origin, receiver: policy.authservID, now: now)
        self.queries = queries
        guard !Self.isKnown(queries, lookup) else { return }
        client = Task(executorPreference: LoopExecutor.of(loop)) {
            async let name = ReverseNameCheck.run(origin.address, lookup: clientLookup)
            let checks = await Self.checks(queries, clientLookup)
            return (await name, checks)
        }
    }

    /// Whether the first answers about a client are there; those behind them mostly are, too.
    private static func isKnown(_ queries: [SPFQuery], _ lookup: ResolverLookup) -> Bool {
        guard let query = queries.first, let reverse = ReverseNameCheck.reverseName(of: query.address) else {
            return false
        }
        return lookup.isKnown(reverse, .ptr)
            && queries.allSatisfy { query in MailDomain.name(query.domain).map { lookup.isKnown($0, .txt) } ?? true }
    }

    /// What the client's name and the sender's domain say.
    private func lookAtClient() async -> (ReverseNameOutcome, [AuthenticationCheck.SPF]) {
        if let client { return await client.value }
        let name = await ReverseNameCheck.run(origin.address, lookup: clientLookup)
        return (name, await Self.checks(queries, clientLookup))
    }

    private static func checks(_ queries: [SPFQuery], _ lookup: BoundedLookup) async -> [AuthenticationCheck.SPF] {
        var checks: [AuthenticationCheck.SPF] = []
        for query in queries { checks.append(await AuthenticationCheck.SPF(query, lookup: lookup)) }
        return checks
    }

    /// The client's name is asked about where it can be one; the sender always (RFC 7208 §2.3, §2.4).
    private static func queries(_ origin: Origin, receiver: String, now: Int) -> [SPFQuery] {
        let helo = Array(origin.helo.utf8)
        let receiver = Array(receiver.utf8)
        let sender = origin.sender.address.map { Array("\($0)".utf8) } ?? []
        let bySender = SPFQuery(
            address: origin.address,
            mailFrom: sender,
            helo: helo,
            receiver: receiver,
            secondsSince1970: now
        )
        guard !sender.isEmpty, let name = MailDomain.hostName(helo), name.labelCount > 1 else { return [bySender] }
        return [
            SPFQuery(address: origin.address, helo: helo, receiver: receiver, secondsSince1970: now), bySender,
        ]
    }

    // MARK: While it comes

    /// The longest header that is taken. Octets.
    package static let maximumHeader = SignatureLimits().headerOctets

    /// Whether the header is longer than can be looked through: what it claims can't be known.
    package var isHeaderTooLong: Bool { filter.isHeaderTooLong }

    /// Takes the next octets of the message as they came.
    ///
    /// - Returns: what may go on: the header once it has ended, without what claims to be our own word
    ///   (RFC 8601 §5), then everything as it comes.
    package func pass(_ octets: ByteBuffer) -> ByteBuffer {
        loop.assertInEventLoop()
        octets.withUnsafeReadableBytes { hasher.feed($0) }
        return passed(filter.pass(octets, header: hasher.endedHeader))
    }

    /// The end of the message.
    ///
    /// - Returns: the rest of it.
    package func end() -> ByteBuffer {
        loop.assertInEventLoop()
        message = hasher.finish()
        return passed(filter.pass(ByteBuffer(), header: hasher.endedHeader))
    }

    /// Once the header has passed the filter, keys and policies are asked for.
    private func passed(_ octets: ByteBuffer) -> ByteBuffer {
        if !isPrefetched, filter.isHeaderPassed, hasher.endedHeader != nil {
            isPrefetched = true
            lookup.prefetch(texts: AuthenticationCheck.names(for: hasher))
        }
        return octets
    }

    deinit {
        // Nobody waits for answers any more.
        loop.execute { [lookup, clientLookup] in
            lookup.deadline = .now()
            clientLookup.deadline = .now()
        }
    }

    // MARK: At its end

    /// What the message is worth, once `end()` was called.
    ///
    /// - Parameter sample: 0 to 99, at random: decides whether a percentage of a domain's mail includes this message.
    package func verdict(sample: @autoclosure () -> Int) async -> AuthenticationVerdict {
        loop.assertInEventLoop()
        // The sender's records are a stranger's, and may be slow on purpose: DMARC has its own time behind them.
        let share = TimeAmount.nanoseconds(policy.timeout.nanoseconds / 2)
        clientLookup.deadline = .now() + share
        let message = message ?? hasher.finish()
        let (name, spf) = await lookAtClient()
        lookup.deadline = .now() + share
        var check = await AuthenticationCheck.run(message, spf: spf, lookup: lookup, now: now, sample: sample())
        let action = policy.action(on: check, of: message, isCutOff: lookup.isCutOff)
        let evaluation = DMARCEvaluation(check, of: origin, action, followsDMARC: policy.followsDMARC)
        if case .acceptAsForwarded = action { check.dmarc.disposition = .none }
        if !policy.followsDMARC { check.dmarc.disposition = .none }
        return AuthenticationVerdict(
            action: action,
            fields: fields(check, name, action),
            clientName: name.name,
            results: check.results,
            signedBy: check.signedBy,
            maybeSignedBy: check.maybeSignedBy,
            reasons: check.reasons,
            evaluation: evaluation
        )
    }

    /// The most octets of Authentication-Results; with more, the lowest signatures are left out.
    private static let maximumResults = 24 * 1024

    private func fields(
        _ check: AuthenticationCheck,
        _ name: ReverseNameOutcome,
        _ action: AuthenticationVerdict.Action
    ) -> ByteBuffer {
        var results = check.results(authservID: Array(policy.authservID.utf8))
        if case .acceptAsForwarded(let sealer) = action, let last = results.entries.indices.last {
            let comment = (results.entries[last].comment ?? []) + Array(" passed when \(sealer) took it".utf8)
            results.entries[last].comment = comment
        }
        results.entries.insert(AuthenticationResults.Entry(name, of: origin.address), at: 0)
        var field = results.field
        while field.count > Self.maximumResults,
            let lowest = results.entries.lastIndex(where: { $0.method.elementsEqual("dkim".utf8) })
        {
            results.entries.remove(at: lowest)
            field = results.field
        }
        var fields = ByteBuffer(bytes: field)
        if let sender = check.spf.last {
            fields.writeBytes(ReceivedSPF.field(sender.outcome, of: sender.query))
        }
        return fields
    }
}
