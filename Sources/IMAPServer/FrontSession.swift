import CoreMetrics
import Accounts
import IMAP
import Logging
import Login
import NIOCore
import Network
import SASL
import TLS

/// One client's connection before login, from the greeting on. After login it only passes octets on. Runs on the
/// connection's event loop alone.
final class FrontSession {
    enum Next {
        case command
        case close
    }

    let connection: Connection
    let kind: IMAPListenerKind
    let settings: FrontSettings
    let tlsContext: TLSContext?
    let accounts: AccountsClient
    let counters: FrontCounters
    let logger: Logger
    let client: String
    private var reader: CommandReader
    private var errors = 0

    init(
        _ connection: Connection,
        kind: IMAPListenerKind,
        settings: FrontSettings,
        tlsContext: TLSContext?,
        accounts: AccountsClient,
        counters: FrontCounters,
        logger: Logger
    ) {
        self.connection = connection
        self.kind = kind
        self.settings = settings
        self.tlsContext = tlsContext
        self.accounts = accounts
        self.counters = counters
        self.logger = logger
        client = connection.remoteAddress?.ipAddress ?? "unknown"
        var limits = CommandLimits()
        limits.command = settings.maximumCommand
        limits.message = 0
        reader = CommandReader(limits: limits)
    }

    /// Serves the client until it leaves, is sent away, or its session after login is over.
    func run() async {
        connection.idleTimeout = settings.loginTimeout
        connection.deadline = .now() + settings.loginTimeout
        do throws(ConnectionError) {
            if kind == .imaps {
                guard let tlsContext else { return }
                try await connection.startTLS(server: tlsContext, reply: nil)
                counters.tlsHandshakes.increment()
            }
            respond { $0.status(.ok, code: .capability(capabilities), "\(settings.hostname) IMAP4rev1 ready") }
            while try await nextCommand() == .command {}
            try await connection.flush()
        } catch {
            switch error {
            case .timedOut: respond { $0.status(.bye, "too slow") }
            case .shuttingDown: respond { $0.status(.bye, code: .unavailable, "going down, try again later") }
            case .closed, .lineTooLong, .failed, .tls:
                logger.debug("connection lost", metadata: ["client": "\(client)", "reason": "\(error)"])
            }
        }
    }

    var mayLogIn: Bool {
        connection.tls != nil || (settings.allowsPlaintextOnLoopback && isLoopback)
    }

    private var isLoopback: Bool {
        guard let octets = connection.remoteAddress?.addressOctets else { return false }
        return octets.count == 4 ? octets.first == 127 : octets == Array(repeating: 0, count: 15) + [1]
    }

    private var capabilities: [String] {
        Capabilities.beforeLogin(
            mayLogIn: mayLogIn,
            mayStartTLS: connection.tls == nil && kind == .imap && tlsContext != nil
        )
    }

    func respond(_ write: (inout ResponseWriter) -> Void) {
        var writer = ResponseWriter()
        write(&writer)
        connection.write(writer.buffer)
    }

    private func nextCommand() async throws(ConnectionError) -> Next {
        while true {
            switch reader.next(from: &connection.input) {
            case .needMore:
                try await connection.flush()
                guard try await connection.receive() else { return .close }
            case .needLiteralContinuation:
                respond { $0.continuation("go on") }
            case .command(let command):
                return try await perform(command)
            case .append(let append):
                // With a limit of no octets this is only an empty message.
                return fault(tag: append.tag, "log in first")
            case .bad(let tag, let reason, _):
                return fault(tag: tag, reason)
            case .fatal(let reason):
                respond { $0.status(.bye, reason) }
                return .close
            }
        }
    }

    func fault(tag: String?, _ reason: String) -> Next {
        counters.badCommands.increment()
        errors += 1
        respond { $0.status(.bad, tag: tag, reason) }
        guard errors < settings.maximumErrors else {
            respond { $0.status(.bye, "too many errors") }
            return .close
        }
        return .command
    }

    private func perform(_ command: TaggedCommand) async throws(ConnectionError) -> Next {
        let tag = command.tag
        switch command.command {
        case .capability:
            respond { $0.capability(capabilities) }
            respond { $0.status(.ok, tag: tag, "done") }
        case .noop:
            respond { $0.status(.ok, tag: tag, "done") }
        case .id:
            respond { $0.id(Capabilities.identity) }
            respond { $0.status(.ok, tag: tag, "done") }
        case .enable:
            return fault(tag: tag, "log in first")
        case .logout:
            respond { $0.status(.bye, "goodbye") }
            respond { $0.status(.ok, tag: tag, "done") }
            return .close
        case .startTLS:
            return try await startTLS(tag)
        case .login(let user, let password):
            guard mayLogIn else { return refusePlaintext(tag) }
            guard let user = Self.text(user), let password = Self.text(password) else {
                return refuseLogin(tag, user: "")
            }
            return try await logIn(tag, PasswordCredentials(user: user, password: password))
        case .authenticate(let mechanism, let initialResponse):
            guard mayLogIn else { return refusePlaintext(tag) }
            return try await authenticate(tag, mechanism, initialResponse)
        default:
            return fault(tag: tag, "log in first")
        }
        return .command
    }

    private static func text(_ octets: [UInt8]) -> String? {
        (1...1024).contains(octets.count) ? String(validating: octets, as: UTF8.self) : nil
    }

    private func startTLS(_ tag: String) async throws(ConnectionError) -> Next {
        guard connection.tls == nil, let tlsContext else { return fault(tag: tag, "TLS is not to be had") }
        var writer = ResponseWriter()
        writer.status(.ok, tag: tag, "begin")
        try await connection.startTLS(server: tlsContext, reply: writer.buffer)
        counters.tlsHandshakes.increment()
        return .command
    }

    private func refusePlaintext(_ tag: String) -> Next {
        respond { $0.status(.no, tag: tag, code: .privacyRequired, "use TLS first") }
        return failure()
    }

    /// Counts against the client; sends it away when it's too much.
    private func failure() -> Next {
        errors += 1
        guard errors < settings.maximumErrors else {
            respond { $0.status(.bye, "too many errors") }
            return .close
        }
        return .command
    }

    // MARK: Login

    /// AUTHENTICATE (RFC 3501 §6.2.2) with or without an initial response (RFC 4959).
    private func authenticate(
        _ tag: String,
        _ mechanism: String,
        _ initialResponse: [UInt8]?
    ) async throws(ConnectionError) -> Next {
        guard var exchange = PasswordExchange(mechanism: mechanism) else {
            respond { $0.status(.no, tag: tag, code: .cannot, "unknown mechanism") }
            return failure()
        }
        var response = initialResponse.map { $0 == [UInt8(ascii: "=")] ? [] : $0 }
        var challenge = exchange.firstChallenge
        while true {
            if response == nil {
                respond { $0.continuation(Base64.encode(challenge.utf8)) }
                try await connection.flush()
                guard let line = try await connection.readLine(maximum: settings.maximumCommand) else { return .close }
                response = Array(line.readableBytesView)
            }
            let text = response ?? []
            response = nil
            if text == [UInt8(ascii: "*")] { return fault(tag: tag, "cancelled") }
            guard let octets = Base64.decode(text) else { return fault(tag: tag, "not base64") }
            switch exchange.take(octets) {
            case .challenge(let next): challenge = next
            case .credentials(let credentials): return try await logIn(tag, credentials)
            case .malformed: return fault(tag: tag, "malformed response")
            }
        }
    }

    private func logIn(_ tag: String, _ credentials: PasswordCredentials) async throws(ConnectionError) -> Next {
        let handover = LoginHandover(path: settings.mailboxSocket, timeout: settings.authorityTimeout)
        let outcome = await handover.logIn(
            .imap,
            user: credentials.user,
            password: credentials.password,
            client: client,
            isEncrypted: connection.tls != nil,
            accounts: accounts,
            on: connection.eventLoop
        )
        switch outcome {
        case .wrong:
            return refuseLogin(tag, user: credentials.user)
        case .refused(_, let reason), .unavailable(let reason):
            logger.error("login deferred", metadata: ["client": "\(client)", "reason": "\(reason)"])
            respond { $0.status(.no, tag: tag, code: .unavailable, "cannot log in now, try again later") }
            return failure()
        case .accepted(let mailbox, let address, _):
            counters.logins.increment()
            logger.info("login", metadata: ["client": "\(client)", "user": "\(address)"])
            respond { $0.status(.ok, tag: tag, code: .capability(Capabilities.afterLogin), "logged in") }
            do throws(ConnectionError) {
                try await connection.flush()
            } catch {
                mailbox.close()
                throw error
            }
            await LoginHandover.relay(connection, mailbox)
            return .close
        }
    }

    private func refuseLogin(_ tag: String, user: String) -> Next {
        counters.loginsFailed.increment()
        logger.notice("login failed", metadata: ["client": "\(client)", "user": "\(user)"])
        respond { $0.status(.no, tag: tag, code: .authenticationFailed, "wrong user or password") }
        return failure()
    }
}
