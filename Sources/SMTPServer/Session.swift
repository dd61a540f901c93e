import CoreMetrics
import Front
import Logging
import NIOCore
import Network
import SMTP

/// One client's session, from the greeting to the end of the connection. Runs on the connection's event loop alone.
final class Session {
    /// What follows a command.
    enum Next {
        case command
        case close
    }

    /// A mail transaction whose envelope is being received.
    struct Transaction {
        var sender: EnvelopeSender
        private(set) var recipients: [EnvelopeRecipient] = []
        private var known: Set<MailAddress> = []
        private var octets = 0

        init(sender: EnvelopeSender) {
            self.sender = sender
        }

        /// What the recipients may take of a frame's head, which has 1 MiB for all (docs/protocols.md). Octets.
        private static let maximumOctets = 960 * 1024
        /// A recipient's field without its address. Octets.
        private static let fieldOverhead = 16

        /// Whether one more recipient, of any length, fits.
        func hasRoom(_ limits: SessionLimits) -> Bool {
            recipients.count < limits.recipients && octets + 1024 <= Self.maximumOctets
        }

        /// Adds a recipient, unless it is there already.
        mutating func add(_ recipient: EnvelopeRecipient) {
            guard known.insert(recipient.address).inserted else { return }
            recipients.append(recipient)
            octets += recipient.description.utf8.count + Self.fieldOverhead
        }
    }

    let front: FrontClient
    let kind: ListenerKind
    let settings: ServerSettings
    let resources: LoopResources
    let counters: ServerCounters
    let mayRelayByAddress: Bool

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
        let octets = client.connection.remoteAddress?.addressOctets
        mayRelayByAddress = octets.map { octets in settings.relayFrom.contains { $0.contains(octets) } } ?? false
    }

    /// Serves the client until either side ends the session.
    func run() async {
        do throws(ConnectionError) {
            guard try await greet() else { return }
            while try await nextCommand() == .command {}
            try await connection.flush()
        } catch {
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
        case .closed, .lineTooLong, .failed, .tls:
            front.logEnd(error)
        }
    }

    private func greet() async throws(ConnectionError) -> Bool {
        if settings.limits.greetingDelay > .zero {
            await connection.eventLoop.pause(settings.limits.greetingDelay)
            if connection.input.readableBytes > 0 {
                logger.info("client talked before the greeting", metadata: ["client": "\(client)"])
                counters.earlyTalkers.increment()
                reply(.transactionFailed, .invalidCommand, "wait for the greeting")
                try await flush()
                return false
            }
        }
        reply(.ready, nil, "\(settings.hostname) ESMTP")
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
        } catch .lineTooLong {
            return try await fault(.syntaxError, .syntaxError, "line too long")
        }
        let command: Command
        do throws(CommandError) {
            command = try Command(parsing: line.readableBytesView, options: [.irregularDots, .unbracketedPaths])
        } catch {
            return try await refuse(error)
        }
        return try await perform(command)
    }

    private func perform(_ command: Command) async throws(ConnectionError) -> Next {
        switch command {
        case .helo(let name): return hello(name, isExtended: false)
        case .ehlo(let name): return hello(name, isExtended: true)
        case .mail(let path, let parameters): return try await mail(EnvelopeSender(path, parameters: parameters))
        case .rcpt(let path, let parameters): return try await recipient(path, parameters)
        case .data: return try await data()
        case .rset:
            transaction = nil
            reply(.ok, .success, "ok")
        case .noop:
            reply(.ok, .success, "ok")
        case .vrfy:
            reply(.cannotVerify, .success, "send mail and see")
        case .expn:
            return try await fault(.notImplemented, .invalidCommand, "EXPN is not implemented")
        case .help:
            reply(.help, .success, "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY STARTTLS AUTH HELP QUIT; see RFC 5321")
        case .quit:
            reply(.closing, .success, "\(settings.hostname) closing connection")
            connection.peerIsDone = true
            return .close
        case .startTLS: return try await startTLS()
        case .auth(let mechanism, let response):
            return try await authenticate(mechanism, initialResponse: response)
        }
        return .command
    }

    private func refuse(_ error: CommandError) async throws(ConnectionError) -> Next {
        switch error {
        case .unknown:
            return try await fault(.syntaxError, .syntaxError, "unknown command")
        case .malformedArgument:
            return try await fault(.argumentError, .invalidArguments, "syntax error in the argument")
        case .illegalOctet:
            return try await fault(.argumentError, .syntaxError, "only printable ASCII is allowed here")
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
        connection.write { Reply.write(code, status, text, isLast: isLast, to: &$0) }
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
