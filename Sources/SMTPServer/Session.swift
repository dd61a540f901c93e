import CoreMetrics
import Front
import Logging
import MailRules
import MilterClient
import NIOCore
import Network
import SMTP
import Submission

/// One client's session, from the greeting to the end of the connection. Runs on the connection's event loop alone.
final class Session {
    /// What follows a command.
    enum Next {
        case command
        case close
    }

    let front: FrontClient
    let kind: ListenerKind
    let settings: ServerSettings
    let resources: LoopResources
    let counters: ServerCounters
    /// The extensions that this kind of listener offers to whomever they are for.
    let extensions: Set<ServiceExtension>
    // What of them counts at every command and reply.
    private let parsingOptions: MailAddress.ParsingOptions
    private let showsStatuses: Bool
    /// Whether who has connected may say by XCLIENT who the client is.
    let isTrustedProxy: Bool

    var connection: Connection { front.connection }
    var logger: Logger { front.logger }
    /// The client's address as text.
    var client: String { front.address }

    /// What the client called itself in HELO or EHLO.
    var helo: String?
    /// Whether it was EHLO.
    var isExtended = false
    /// The address that the client logged in as.
    var user: String?
    var transaction: Transaction?
    /// The message that comes in chunks, from its first one on.
    var chunked: ChunkedMessage?
    /// What the DNS says of the client; nil where it wasn't asked.
    var connectionFacts: ConnectionFacts?
    /// The client's name, asked for ahead of time; nil where nobody asks, or where its mail's authentication does.
    var clientsName: ClientName?
    /// The programs that look at this client's mail; nil where there are none.
    let milters: MilterChain?
    /// What stands in the certificate that the client has shown.
    var knownCertificate: (certificate: [UInt8], names: (subject: String?, issuer: String?))?
    /// How the client has logged in.
    var mechanism: String?
    /// What will carry the next message to queue-manager, where milters are told its ID before it begins.
    var reserved: MessageSubmission?
    /// What authd has counted of a message that hasn't ended; nil where there is none.
    var counted: (user: String, recipients: Int)?
    private var unflushed = 0

    /// Replies of more octets than this are sent although more commands are waiting.
    private static let replyBatch = 8192

    init(
        _ client: FrontClient,
        kind: ListenerKind,
        settings: ServerSettings,
        resources: LoopResources,
        counters: ServerCounters
    ) {
        front = client
        self.kind = kind
        self.settings = settings
        self.resources = resources
        self.counters = counters
        milters = Self.milters(of: kind, client, settings, resources, counters)
        let extensions = settings.extensions(of: kind)
        self.extensions = extensions
        let irregular: MailAddress.ParsingOptions = [.irregularDots, .unbracketedPaths]
        parsingOptions = extensions.contains(.utf8) ? irregular.union(.utf8) : irregular
        showsStatuses = extensions.contains(.enhancedStatusCodes)
        let peer = client.remoteAddress?.addressOctets
        isTrustedProxy = peer.map { peer in settings.xclientFrom.contains { $0.contains(peer) } } ?? false
    }

    /// Whether the client's address is in one of these networks.
    func isIn(_ networks: [AddressRange]) -> Bool {
        guard let octets = front.remoteAddress?.addressOctets else { return false }
        return networks.contains { $0.contains(octets) }
    }

    /// Whether the client is in a network that may relay.
    var mayRelayByAddress: Bool { isIn(settings.relayFrom) }

    /// Nothing is left of a transaction.
    func resetTransaction() {
        transaction = nil
        milters?.abort()
        reserved?.abort()
        reserved = nil
        takeBackCount()
        chunked?.submission.abort()
        chunked = nil
    }

    /// Serves the client until either side ends the session.
    func run() async {
        defer { milters?.end() }
        do throws(ConnectionError) {
            guard try await greet() else { return }
            while try await nextCommand() == .command {}
            resetTransaction()
            try await connection.flush()
        } catch {
            // The client is gone or timed out: nothing of its message is kept.
            resetTransaction()
            end(error)
        }
    }

    /// Tells the client why the connection ends, where it can still be told.
    private func end(_ error: ConnectionError) {
        switch error {
        case .timedOut:
            reply(.serviceNotAvailable, .badConnection, "\(settings.hostname) timeout, closing connection")
        case .shuttingDown:
            reply(.serviceNotAvailable, .notAccepting, "\(settings.hostname) going down, try again later")
        case .dismissed:
            reply(.serviceNotAvailable, .refusedForNow, "too many connections, try again later")
        case .closed, .lineTooLong, .failed, .badSource, .tls:
            front.logEnd(error)
        }
    }

    private func greet() async throws(ConnectionError) -> Bool {
        if let (code, status, text) = refuseConnection() {
            reply(code, status, text)
            try await flush()
            return false
        }
        let address = front.remoteAddress?.addressOctets ?? []
        if settings.limits.greetingDelay > .zero, isStranger, !resources.greeted.knows(address) {
            await connection.eventLoop.pause(settings.limits.greetingDelay)
            if connection.input.readableBytes > 0 {
                logger.info("client talked before the greeting", metadata: ["client": "\(client)"])
                counters.earlyTalkers.increment()
                reply(.transactionFailed, .invalidCommand, "wait for the greeting")
                try await flush()
                return false
            }
            resources.greeted.note(address)
        }
        if let verdict = await introduceClient(), await refuseClient(verdict) == .close {
            try await flush()
            return false
        }
        askForName()
        reply(.ready, nil, "\(settings.hostname) \(kind == .lmtp ? "LMTP" : "ESMTP")")
        return true
    }

    // MARK: Commands

    private func nextCommand() async throws(ConnectionError) -> Next {
        let line: ByteBuffer
        try checkTime()
        do throws(ConnectionError) {
            // Replies to commands that came together leave together (RFC 2920).
            if unflushed > Self.replyBatch || !connection.hasLine { try await flush() }
            guard let next = try await connection.readLine(maximum: settings.limits.commandLine) else { return .close }
            line = next
            // Before a reply to EHLO nobody knows whether commands may come together, and after HELO none may.
            if !isExtended, let refusal = try await refuseEarlyPipelining() { return refusal }
        } catch .lineTooLong {
            return try await fault(.syntaxError, .syntaxError, "line too long")
        }
        let command: Command
        do throws(CommandError) {
            command = try Command(parsing: line.readableBytesView, options: parsingOptions)
        } catch {
            if error == .unknown, let verdict = await milters?.unknown(Array(line.readableBytesView)),
                let next = try await refuse(by: verdict)
            {
                return next
            }
            return try await refuse(error)
        }
        return try await perform(command)
    }

    private func perform(_ command: Command) async throws(ConnectionError) -> Next {
        switch command {
        case .helo(let name): return try await hello(name, by: .helo)
        case .ehlo(let name): return try await hello(name, by: .ehlo)
        case .lhlo(let name): return try await hello(name, by: .lhlo)
        case .mail(let path, let parameters): return try await mail(EnvelopeSender(path, parameters: parameters))
        case .rcpt(let path, let parameters): return try await recipient(path, parameters)
        case .data: return try await data()
        case .bdat(let octets, let isLast): return try await chunk(octets, isLast: isLast)
        case .rset:
            resetTransaction()
            reply(.ok, .success, "ok")
        case .noop:
            reply(.ok, .success, "ok")
        case .vrfy(let text, let isUTF8): return try await verify(text, isUTF8: isUTF8)
        case .expn(let text, let isUTF8): return try await expand(text, isUTF8: isUTF8)
        case .help(let topic): return try await help(topic)
        case .quit:
            reply(.closing, .success, "\(settings.hostname) closing connection")
            connection.peerIsDone = true
            return .close
        case .startTLS: return try await startTLS()
        case .auth(let mechanism, let response):
            guard extensions.contains(.auth), kind != .lmtp else {
                return try await fault(.notImplemented, .invalidCommand, "AUTH is not available here")
            }
            return try await authenticate(mechanism, initialResponse: response)
        case .xclient(let attributes): return try await takeOver(attributes)
        }
        return .command
    }

    private func refuse(_ error: CommandError) async throws(ConnectionError) -> Next {
        switch error {
        case .unknown:
            return try await fault(.syntaxError, .syntaxError, "unknown command")
        case .malformedChunk:
            // What follows may be a chunk, and must not be taken for commands.
            _ = try await fault(.argumentError, .invalidArguments, "BDAT needs the size of the chunk")
            return .close
        case .malformedArgument:
            return try await fault(.argumentError, .invalidArguments, "syntax error in the argument")
        case .illegalOctet:
            return try await fault(.argumentError, .syntaxError, "a character that is not allowed here")
        case .sender(.unknownParameter(let name)), .recipient(.unknownParameter(let name)):
            return try await fault(.parameterNotRecognized, .invalidArguments, "unknown parameter \(name)")
        case .sender(.malformedParameter(let name)), .recipient(.malformedParameter(let name)):
            return try await fault(.argumentError, .invalidArguments, "malformed parameter \(name)")
        case .sender:
            return try await fault(.argumentError, .badSenderSyntax, "malformed sender address")
        case .recipient:
            return try await fault(.argumentError, .badRecipientSyntax, "malformed recipient address")
        }
    }

    // MARK: Replies

    /// Adds a reply of one line to what is sent next.
    func reply(_ code: ReplyCode, _ status: EnhancedStatusCode?, _ text: String, isLast: Bool = true) {
        unflushed += text.utf8.count + 16
        let status = showsStatuses ? status : nil
        connection.write { Reply.write(code, status, text, isLast: isLast, to: &$0) }
    }

    /// Adds a reply of any number of lines.
    func write(_ answer: Reply) {
        for (place, line) in answer.lines.enumerated() {
            reply(answer.code, answer.status, line, isLast: place == answer.lines.count - 1)
        }
    }

    func flush() async throws(ConnectionError) {
        unflushed = 0
        try await connection.flush()
    }

    func checkTime() throws(ConnectionError) { try front.checkTime() }

    /// Replies to a client error: with a growing delay beyond half the number allowed, and with 421 once they are used up.
    func fault(
        _ code: ReplyCode,
        _ status: EnhancedStatusCode,
        _ text: String
    ) async throws(ConnectionError) -> Next {
        guard try await front.countFault() >= 0 else {
            front.logTooManyFaults()
            reply(.serviceNotAvailable, .refusedForNow, "too many errors")
            return .close
        }
        reply(code, status, text)
        return .command
    }
}

extension Connection {
    /// Whether a whole line has arrived already.
    var hasLine: Bool { input.readableBytes > 0 && input.readableBytesView.contains(UInt8(ascii: "\n")) }
}
