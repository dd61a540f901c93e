import CoreMetrics
import DNS
import Logging
import NIOCore
import Network
import TSIG

/// Answers the queries that arrive on one event loop.
final class QueryEngine: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    let loop: any EventLoop
    let settings: ResolverSettings
    private let shards: [Shard]
    private(set) var names: NameSpace
    /// Makes updates of zones; nil where no zone takes any.
    let updates: ZoneUpdates?
    /// Knows what has changed in zones.
    let store: ZoneStore?
    private var kept: AnswerCache
    /// Counts reloads, so that an answer from before one isn't kept after it.
    private var generation = 0
    /// Whom other servers of our zones talk to; set before the first query.
    var exchange: ZoneExchange?
    /// Whether each query is logged. On the loop.
    var logsQueries = false
    let logger: Logger

    /// Who asks, and how.
    struct Client {
        var mayRecurse: Bool
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

    init(
        _ settings: ResolverSettings,
        on loop: any EventLoop,
        names: NameSpace,
        shards: [Shard],
        store: ZoneStore? = nil,
        updates: ZoneUpdates? = nil,
        logger: Logger
    ) {
        self.store = store
        self.updates = updates
        self.logger = logger
        self.settings = settings
        self.loop = loop
        self.names = names
        self.shards = shards
        kept = AnswerCache(limit: settings.cacheSize / 4 / max(shards.count, 1))
    }

    /// Forgets the answers that are kept ready. On the loop.
    func forgetReadyAnswers() {
        generation += 1
        kept.flush()
    }

    /// What the answers that are kept ready take, and may take. Octets; on the loop.
    var readyOctets: (octets: Int, limit: Int) { (kept.octets, kept.limit) }

    /// Serves other zones from now on. On the loop.
    ///
    /// - Parameter onlyVersions: they are the same zones in other versions, so that what came from others still counts.
    func adopt(_ names: NameSpace, onlyVersions: Bool) {
        self.names = names
        generation += 1
        if onlyVersions { kept.outdateZones() } else { kept.flush() }
    }

    /// An answer that is kept ready; nil where there is none.
    func readyAnswer(_ query: ByteBuffer, _ client: Client) -> ByteBuffer? {
        if logsQueries { log(query, client) }
        return query.withUnsafeReadableBytes { octets in
            guard let plain = PlainQueryView(octets, mayRecurse: client.mayRecurse) else { return nil }
            let maximum = client.isDatagram ? Self.datagramLimit(plain.payloadSize) : DNSMessage.maximumOctets
            guard var found = kept.answer(to: plain, maximum: maximum, now: settings.now()) else { return nil }
            if !plain.wishes.isEmpty, let place = found.optAt {
                guard plain.wishes.fulfil(in: &found.octets, optAt: place, client, maximum: maximum) else { return nil }
            }
            return found.octets
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
        guard query.readableBytes >= DNSMessage.headerOctets,
            let word = query.getInteger(at: query.readerIndex + 2, as: UInt16.self), word & 0x8000 == 0
        else { return nil }
        var message: DNSMessage
        do {
            message = try DNSMessage(decoding: query)
        } catch {
            settings.counters.malformed.increment()
            return ByteBuffer(bytes: malformedAnswer(query, word))
        }
        let limit =
            client.isDatagram ? Self.datagramLimit(Int(message.edns?.payloadSize ?? 512)) : DNSMessage.maximumOctets
        if message.isSigned { return await answer(signed: query, &message, client, limit: limit) }
        let generation = generation
        let (response, keeping) = await answer(message, client)
        let octets = response.encode(maximum: limit)
        if keeping.lifetime != 0, generation == self.generation, octets.count > 3, octets[2] & 0x02 == 0 {
            keep(octets, for: query, client, keeping)
        }
        var buffer = ByteBuffer(bytes: octets)
        if let edns = response.edns, let wishes = message.edns.map(QueryWishes.init), !wishes.isEmpty {
            let place = octets.count - edns.encodedCount
            _ = wishes.fulfil(in: &buffer, optAt: place, client, maximum: limit)
        }
        return buffer
    }

    /// The answer to a query that has a signature (RFC 8945 §5.2), itself signed.
    private func answer(
        signed query: ByteBuffer,
        _ message: inout DNSMessage,
        _ client: Client,
        limit: Int
    ) async -> ByteBuffer {
        let now = settings.secondsSince1970()
        var client = client
        var signer: TSIGSigner
        var response: DNSMessage
        switch TSIGVerification.verify(Array(query.readableBytesView), keys: settings.keys, now: now) {
        case .unsigned, .malformed: return ByteBuffer(bytes: message.response(.formatError).encode(maximum: limit))
        case .refused(let refusal):
            signer = refusal
            response = message.response(.notAuthoritative)
        case .signed(let answering):
            signer = answering
            client.signer = answering.signer
            message.additionals.removeAll { $0.type == .tsig }
            response = await answer(message, client).0
        }
        let octets = response.encode(maximum: max(limit - signer.overhead, DNSMessage.headerOctets))
        return ByteBuffer(bytes: signer.sign(octets, now: settings.secondsSince1970()))
    }

    private func keep(_ answer: [UInt8], for query: ByteBuffer, _ client: Client, _ keeping: Keeping) {
        let plain = query.withUnsafeReadableBytes { PlainQueryView($0, mayRecurse: client.mayRecurse)?.copy }
        guard let plain else { return }
        kept.keep(
            answer,
            for: plain,
            lifetime: keeping.lifetime,
            dependsOnZones: keeping.dependsOnZones,
            now: settings.now()
        )
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
        /// Whether anything in it comes from local zones.
        var dependsOnZones = false

        static let not = Keeping(lifetime: 0)
    }

    private func answer(_ query: DNSMessage, _ client: Client) async -> (DNSMessage, Keeping) {
        if query.flags.opcode == .notify, let exchange {
            return (exchange.answer(query, from: client.address, signer: client.signer), .not)
        }
        if query.flags.opcode == .update { return (await answer(update: query, client), .not) }
        if let refusal = refusal(query) { return (refusal, .not) }
        if let type = query.questions.first?.type, type == .axfr || type == .ixfr {
            return (answer(transferInOneMessage: query, type, client), .not)
        }
        var response = query.response()
        response.flags.recursionAvailable = client.mayRecurse
        guard let question = query.questions.first else { return (query.response(.formatError), .not) }
        let rights = QueryRights(
            mayRecurse: client.mayRecurse,
            recursionDesired: query.flags.recursionDesired,
            dnssecOK: query.edns?.dnssecOK ?? false,
            checkingDisabled: query.flags.checkingDisabled,
            address: client.address?.addressOctets,
            signer: client.signer
        )
        let resolution = await ResolutionWalk(names: names, shards: shards, settings: settings).resolve(
            question,
            rights
        )
        response.responseCode = resolution.code
        response.flags.isAuthoritative = resolution.isAuthoritative
        response.answers = resolution.answers
        response.authorities = resolution.authorities
        response.additionals = resolution.additionals
        // AD is for those who asked for signatures or for it (RFC 6840 §5.7).
        response.flags.isAuthenticData =
            resolution.isAuthentic && (rights.dnssecOK || query.flags.isAuthenticData) && !rights.checkingDisabled
        if let error = resolution.error ?? resolution.note { response.edns?.options.append(error.option) }
        count(resolution)
        return (response, Keeping(lifetime: resolution.lifetime, dependsOnZones: resolution.dependsOnZones))
    }

    private func count(_ resolution: Resolution) {
        switch resolution.code {
        case .refused: settings.counters.refused.increment()
        case .serverFailure: settings.counters.failures.increment()
        default: if !resolution.isForeign { settings.counters.local.increment() }
        }
    }

    /// The answer to a query that isn't for us to resolve.
    private func refusal(_ query: DNSMessage) -> DNSMessage? {
        guard query.flags.opcode == .query else { return query.response(.notImplemented) }
        if let edns = query.edns, edns.version != 0 { return query.response(.badVersion) }
        guard query.questions.count == 1, let question = query.questions.first else {
            return query.response(.formatError)
        }
        guard question.class == .internet else { return query.response(.refused) }
        if question.type == .opt || question.type.rawValue == 0 { return query.response(.formatError) }
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
