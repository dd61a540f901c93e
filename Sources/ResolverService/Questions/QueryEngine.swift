import CoreMetrics
import DNS
import Daemon
import LocalZones
import Logging
import NIOCore
import Network
import Recursion
import TSIG

/// Answers the queries that arrive on one event loop.
final class QueryEngine: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    let loop: any EventLoop
    let settings: ResolverSettings
    let counters: ResolverCounters
    private let shards: [Shard]
    private let signer: ZoneSigner
    private(set) var names: NameSpace {
        didSet { walk = ResolutionWalk(names: names, shards: shards, settings: settings, signer: signer) }
    }
    private var walk: ResolutionWalk
    /// What we have authority for: takes updates and notifications, gives zones to others.
    let authority: ZoneAuthority
    private var kept: AnswerCache
    private let gate: ClientGate
    private let optionSource: AnswerOptions.Source
    /// Counts reloads, so that an answer from before one isn't kept after it.
    private var generation = 0
    /// Whether each query is logged. On the loop.
    var logsQueries = false
    let logger: Logger

    /// Who asks, and how.
    struct Client {
        var standing: ClientStanding
        /// How it came.
        var transport: Transport
        /// How long its connection may be silent, for those who ask (RFC 7828); nil where it isn't said.
        var idleTimeout: TimeAmount?
        /// nil for a program on this machine that came by the Unix-domain socket.
        var address: SocketAddress?
        /// The key that the query was signed with (RFC 8945), once that was checked.
        var signer: DomainName?
        /// Whether the answer goes into a datagram.
        var isDatagram: Bool { transport == .udp }

        var mayRecurse: Bool { standing.rights.contains(.recursion) }
    }

    /// What queries come by.
    enum Transport: String, Sendable {
        case udp
        case tcp
        /// DNS over TLS (RFC 7858).
        case tls
        /// DNS over HTTPS (RFC 8484).
        case https
        /// The Unix-domain socket.
        case local

        var isEncrypted: Bool { self == .tls || self == .https }
    }

    /// What is at hand for a query.
    enum Ready {
        case answer(ByteBuffer)
        /// An answer that the client doesn't get.
        case withheld
        case none
    }

    /// - Parameter signer: the loop's.
    init(
        _ settings: ResolverSettings,
        on loop: any EventLoop,
        names: NameSpace,
        shards: [Shard],
        signer: ZoneSigner,
        authority: ZoneAuthority,
        counters: ResolverCounters,
        logger: Logger
    ) {
        self.authority = authority
        self.counters = counters
        self.logger = logger
        self.signer = signer
        self.settings = settings
        self.loop = loop
        self.names = names
        self.shards = shards
        walk = ResolutionWalk(names: names, shards: shards, settings: settings, signer: signer)
        kept = AnswerCache(limit: settings.readyAnswerLimit / max(shards.count, 1))
        gate = ClientGate(settings, counters)
        optionSource = AnswerOptions.Source(settings)
    }

    /// Forgets the answers that are kept ready. On the loop.
    func forgetReadyAnswers() {
        loop.assertInEventLoop()
        generation += 1
        kept.flush()
    }

    /// What the answers that are kept ready take, and may take. Octets; on the loop.
    var readyOctets: (octets: Int, limit: Int) { (kept.octets, kept.limit) }

    /// Serves other zones from now on. On the loop.
    ///
    /// - Parameter onlyVersions: they are the same zones in other versions, so that what came from others still counts.
    func adopt(_ names: NameSpace, onlyVersions: Bool) {
        loop.assertInEventLoop()
        self.names = names
        generation += 1
        if onlyVersions { kept.outdateZones() } else { kept.flush() }
    }

    /// An answer that is kept ready.
    func readyAnswer(_ query: ByteBuffer, _ client: Client) -> Ready {
        if logsQueries { log(query, client) }
        return query.withUnsafeReadableBytes { octets in
            guard let plain = PlainQueryView(octets, client.standing.rights) else { return .none }
            let options = AnswerOptions(plain, client.standing, optionSource)
            let isForgeable = client.isForgeable(options)
            if isForgeable, settings.rateLimits.requiresCookies { return .none }
            let maximum = client.isDatagram ? Self.datagramLimit(plain.payloadSize) : DNSMessage.maximumOctets
            guard var found = kept.answer(to: plain, options, maximum: maximum, now: settings.clock.now()) else {
                return .none
            }
            if !plain.wishes.isEmpty, let place = found.optAt {
                guard plain.wishes.fulfil(in: &found.answer, optAt: place, client, maximum: maximum) else {
                    return .none
                }
            }
            guard isForgeable else { return .answer(found.answer) }
            switch gate.judge(client.standing, topic: found.topic) {
            case .send: return .answer(found.answer)
            case .drop: return .withheld
            case .slip: return (try? DNSMessage(decoding: query)).map { .answer(cut($0, client, options)) } ?? .withheld
            }
        }
    }

    private func log(_ query: ByteBuffer, _ client: Client) {
        guard let message = try? DNSMessage(decoding: query), let question = message.questions.first else { return }
        logger.info(
            "query",
            metadata: [
                "client": "\(client.address?.ipAddress ?? "local")", "name": "\(question.name)",
                "type": "\(question.type)", "transport": "\(client.transport.rawValue)",
            ]
        )
    }

    /// The answer to a query; nil where there must be none, such as to an answer.
    func answer(_ query: ByteBuffer, _ client: Client) async -> ByteBuffer? {
        loop.assertInEventLoop()
        guard query.readableBytes >= DNSMessage.headerOctets,
            let word = query.getInteger(at: query.readerIndex + 2, as: UInt16.self), word & 0x8000 == 0
        else { return nil }
        var message: DNSMessage
        do {
            message = try DNSMessage(decoding: query)
        } catch {
            counters.malformed.increment()
            guard gate.mayAnswerMalformed(client) else { return nil }
            return ByteBuffer(bytes: malformedAnswer(query, word))
        }
        guard message.edns?.cookie != .malformed else {
            return finish(message.response(.formatError), to: message, client, AnswerOptions())
        }
        let options = AnswerOptions(message, client.standing, optionSource)
        if message.isSigned { return await answerSigned(query, &message, client, options) }
        if client.isForgeable(options), settings.rateLimits.requiresCookies { return cut(message, client, options) }
        guard let wait = gate.begin(client, isProven: options.isProven) else {
            return finish(Self.crowded(message), to: message, client, options)
        }
        let generation = generation
        let (response, keeping) = await respond(to: message, client)
        guard gate.end(wait) else { return nil }
        let octets = response.encode(maximum: Self.limit(message, client) - options.count)
        if keeping.lifetime != 0, generation == self.generation, octets.count > 3, octets[2] & 0x02 == 0 {
            let ready = ReadyAnswer(
                octets: octets,
                topic: AnswerTopic.of(response),
                lifetime: keeping.lifetime,
                countsDown: keeping.countsDown,
                dependsOnZones: keeping.dependsOnZones
            )
            keep(ready, for: query, client)
        }
        return finish(response, octets, to: message, client, options)
    }

    /// The answer to a query that has a signature (RFC 8945 §5.2), itself signed. Who signed isn't forged.
    private func answerSigned(
        _ query: ByteBuffer,
        _ message: inout DNSMessage,
        _ client: Client,
        _ options: AnswerOptions
    ) async -> ByteBuffer? {
        var client = client
        var signer: TSIGSigner
        var response: DNSMessage
        switch verify(query) {
        case .unsigned, .malformed: return finish(message.response(.formatError), to: message, client, options)
        case .refused(let refusal):
            signer = refusal
            response = message.response(.notAuthoritative)
            guard !client.isForgeable(options) || gate.judge(client.standing, topic: AnswerTopic.of(response)) == .send
            else { return nil }
        case .signed(let answering):
            signer = answering
            client.signer = answering.signer
            message.additionals.removeAll { $0.type == .tsig }
            if let wait = gate.begin(client, isProven: true) {
                response = await respond(to: message, client).0
                _ = gate.end(wait)
            } else {
                response = Self.crowded(message)
            }
        }
        options.add(to: &response)
        let limit = Self.limit(message, client)
        let octets = response.encode(maximum: max(limit - signer.overhead, DNSMessage.headerOctets))
        return ByteBuffer(bytes: signer.sign(octets, now: settings.clock.secondsSince1970()))
    }

    /// Who signed a query, and whether the signature holds.
    func verify(_ query: ByteBuffer) -> TSIGVerification {
        TSIGVerification.verify(
            Array(query.readableBytesView),
            keys: authority.keys.current,
            now: settings.clock.secondsSince1970()
        )
    }

    /// What is sent: an answer with its options, what is sent in its place, or nothing.
    private func finish(
        _ response: DNSMessage,
        _ octets: [UInt8]? = nil,
        to query: DNSMessage,
        _ client: Client,
        _ options: AnswerOptions
    ) -> ByteBuffer? {
        if client.isForgeable(options) {
            switch gate.judge(client.standing, topic: AnswerTopic.of(response)) {
            case .send: break
            case .drop: return nil
            case .slip: return cut(query, client, options)
            }
        }
        let octets = octets ?? response.encode()
        var buffer = options.added(to: octets, of: response)
        if let edns = response.edns, let wishes = query.edns.map(QueryWishes.init), !wishes.isEmpty {
            let place = octets.count - edns.encodedCount
            _ = wishes.fulfil(in: &buffer, optAt: place, client, maximum: Self.limit(query, client))
        }
        return buffer
    }

    /// What a client gets that may not be where the query says: that there is more by TCP, or for the cookie that it
    /// gets with this (RFC 7873 §5.2.3). Never longer than a query with a cookie and the cookie.
    private func cut(_ query: DNSMessage, _ client: Client, _ options: AnswerOptions) -> ByteBuffer {
        counters.slipped.increment()
        var response = query.response(options.cookie == nil ? .noError : .badCookie)
        response.flags.isTruncated = options.cookie == nil
        response.flags.recursionAvailable = client.mayRecurse
        return options.added(to: response.encode(), of: response)
    }

    private static func crowded(_ query: DNSMessage) -> DNSMessage {
        var response = query.response(.serverFailure)
        response.edns?.options = [ExtendedError(code: 0, text: "too many of your questions are waiting").option]
        return response
    }

    private func keep(_ answer: ReadyAnswer, for query: ByteBuffer, _ client: Client) {
        let plain = query.withUnsafeReadableBytes { PlainQueryView($0, client.standing.rights)?.copy }
        guard let plain else { return }
        kept.keep(answer, for: plain, now: settings.clock.now())
    }

    /// How long the answer to a query may be.
    private static func limit(_ query: DNSMessage, _ client: Client) -> Int {
        client.isDatagram ? datagramLimit(Int(query.edns?.payloadSize ?? 512)) : DNSMessage.maximumOctets
    }

    /// No more than what passes unfragmented, whatever the client says (and no less than RFC 1035's 512).
    private static func datagramLimit(_ payloadSize: Int) -> Int {
        min(max(payloadSize, 512), Int(EDNS.defaultPayloadSize))
    }

    private func malformedAnswer(_ query: ByteBuffer, _ word: UInt16) -> [UInt8] {
        var flags = MessageFlags(rawValue: word & 0x7900)
        flags.isResponse = true
        let id = query.getInteger(at: query.readerIndex, as: UInt16.self) ?? 0
        return DNSMessage(id: id, flags: flags, responseCode: .formatError).encode()
    }

    /// Whether an answer may be kept ready.
    private struct Keeping {
        /// Seconds; nil for as long as the zones stay as they are.
        var lifetime: UInt32?
        /// Whether its times to live run down.
        var countsDown = false
        /// Whether anything in it comes from local zones.
        var dependsOnZones = false

        static let not = Keeping(lifetime: 0)
    }

    private func respond(to query: DNSMessage, _ client: Client) async -> (DNSMessage, Keeping) {
        if query.flags.opcode == .notify,
            let answer = authority.answer(notification: query, from: client.address, signer: client.signer)
        {
            return (answer, .not)
        }
        if query.flags.opcode == .update {
            return (await authority.updates.answer(query, signer: client.signer), .not)
        }
        if let refusal = refusal(query) { return (refusal, .not) }
        if let type = query.questions.first?.type, type == .axfr || type == .ixfr {
            return (transferInOneMessage(query, type, client), .not)
        }
        var response = query.response()
        response.flags.recursionAvailable = client.mayRecurse
        guard let question = query.questions.first else { return (query.response(.formatError), .not) }
        let rights = QueryRights(
            mayRecurse: client.mayRecurse,
            recursionDesired: query.flags.recursionDesired,
            dnssecOK: query.edns?.dnssecOK ?? false,
            checkingDisabled: query.flags.checkingDisabled,
            standing: client.standing,
            compactOK: query.edns?.compactOK ?? false,
            isDatagram: client.isDatagram,
            signer: client.signer
        )
        let resolution = await walk.answer(question, rights)
        response.responseCode = resolution.code
        response.flags.isAuthoritative = resolution.isAuthoritative
        response.flags.isTruncated = resolution.isTruncated
        response.edns?.compactOK = resolution.isCompact
        response.answers = resolution.answers
        response.authorities = resolution.authorities
        response.additionals = resolution.additionals
        // AD is for those who asked for signatures or for it (RFC 6840 §5.7).
        response.flags.isAuthenticData =
            resolution.isAuthentic && (rights.dnssecOK || query.flags.isAuthenticData) && !rights.checkingDisabled
        if let error = resolution.error ?? resolution.note { response.edns?.options.append(error.option) }
        count(resolution)
        let keeping = Keeping(
            lifetime: resolution.lifetime,
            countsDown: resolution.isForeign,
            dependsOnZones: resolution.dependsOnZones
        )
        return (response, keeping)
    }

    private func count(_ resolution: Resolution) {
        switch resolution.code {
        case .refused: counters.refused.increment()
        case .serverFailure: counters.failures.increment()
        default: if !resolution.isForeign { counters.local.increment() }
        }
    }

    /// The answer to a query that isn't for us to resolve.
    private func refusal(_ query: DNSMessage) -> DNSMessage? {
        guard query.flags.opcode == .query else { return query.response(.notImplemented) }
        if let edns = query.edns, edns.version != 0 { return query.response(.badVersion) }
        // Without a question a client may still ask for a cookie (RFC 7873 §5.4).
        if query.questions.isEmpty, case .cookie = query.edns?.cookie { return query.response() }
        guard query.questions.count == 1, let question = query.questions.first else {
            return query.response(.formatError)
        }
        guard question.class == .internet else { return query.response(.refused) }
        if question.type == .opt || question.type.rawValue == 0 { return query.response(.formatError) }
        if question.type == .nxname {
            // RFC 9824 §3.5.
            var response = query.response(.formatError)
            response.edns?.options.append(ExtendedError(code: ExtendedError.invalidQueryTypeCode).option)
            return response
        }
        let isForZones = question.type == .axfr || question.type == .ixfr
        if question.type.isMeta, question.type != .any, !isForZones { return query.response(.notImplemented) }
        return nil
    }
}

extension DNSMessage {
    /// Whether there is a TSIG record, be it at the right place or not.
    fileprivate var isSigned: Bool {
        (answers + authorities + additionals).contains { $0.type == .tsig }
    }
}
