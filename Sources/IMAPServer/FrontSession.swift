import Accounts
import Front
import IMAP
import NIOCore
import Network
import SASL

/// One client's connection before login, from the greeting on. After login it only relays octets. Runs on the connection's
/// event loop alone.
final class FrontSession {
    /// What happens after a command.
    enum Next {
        case command
        case close
        /// The client has logged in.
        case relay(Connection, ReturnMark?)
    }

    private let client: FrontClient
    private let connection: Connection
    private let handover: LoginHandover
    private let offered: Capabilities
    private let messageLimit: Int
    private var reader: CommandReader

    /// The longest command before login: ID with all that RFC 2971 §3.3 allows. Octets.
    private static let maximumCommand = 40 * 1024
    /// The longest SASL response. Octets.
    private static let maximumResponse = 12_288

    init(_ client: FrontClient, handover: LoginHandover, capabilities: Capabilities, messageLimit: Int) {
        self.client = client
        self.handover = handover
        offered = capabilities
        self.messageLimit = messageLimit
        connection = client.connection
        reader = Self.reader(capabilities)
    }

    private static func reader(_ capabilities: Capabilities) -> CommandReader {
        var limits = CommandLimits()
        limits.command = maximumCommand
        limits.message = -1
        return CommandReader(limits: capabilities.limits(limits))
    }

    /// Serves the client until either side ends the session, before or after the login.
    func run() async {
        do throws(ConnectionError) {
            respond {
                $0.status(.ok, code: .capability(capabilities), "\(client.settings.hostname) IMAP4rev1 ready")
            }
            while true {
                switch try await nextCommand() {
                case .command: continue
                case .close: return try await connection.flush()
                case .relay(let session, let mark):
                    guard await LoginHandover.relay(connection, session, until: mark) else { return }
                    client.beStrangerAgain()
                    reader = Self.reader(offered)
                }
            }
        } catch {
            switch error {
            case .timedOut: respond { $0.status(.bye, "too slow") }
            case .shuttingDown: respond { $0.status(.bye, code: .unavailable, "going down, try again later") }
            case .dismissed: respond { $0.status(.bye, code: .unavailable, "too many connections, try again later") }
            case .closed, .lineTooLong, .failed, .badSource, .tls: client.logEnd(error)
            }
        }
    }

    private var capabilities: [String] {
        offered.beforeLogin(
            takesPasswords: client.takesPasswords,
            mechanisms: client.mechanisms,
            mayStartTLS: client.mayStartTLS
        )
    }

    private func respond(_ write: (inout ResponseWriter) -> Void) {
        var writer = ResponseWriter()
        write(&writer)
        connection.write(writer.buffer)
    }

    private func nextCommand() async throws(ConnectionError) -> Next {
        try client.checkTime()
        while true {
            switch reader.next(from: &connection.input) {
            case .needMore:
                try await connection.flush()
                guard try await connection.receive() else { return .close }
            case .needLiteralContinuation:
                respond { $0.continuation("go on") }
            case .command(let command):
                return try await perform(command)
            case .append(let tag, _):
                // No message is small enough, so this one is put together of other messages.
                return try await fault(tag, "log in first")
            case .bad(let tag, let reason, _):
                return try await fault(tag, reason)
            case .fatal(let reason):
                respond { $0.status(.bye, reason) }
                return .close
            }
        }
    }

    private func perform(_ command: TaggedCommand) async throws(ConnectionError) -> Next {
        let tag = command.tag
        if offered.missing(for: command.command) != nil { return try await fault(tag, "unknown command") }
        switch command.command {
        case .capability:
            respond { $0.capability(capabilities) }
        case .noop: break
        case .id:
            respond { $0.id(Capabilities.identity) }
        case .logout:
            respond { $0.status(.bye, "goodbye") }
            respond { $0.status(.ok, tag: tag, "done") }
            return .close
        case .startTLS: return try await startTLS(tag)
        case .login(let user, let password):
            guard client.mayLogIn else { return try await refusePlaintext(tag) }
            guard client.takesPasswords else { return try await fault(tag, "no passwords are taken here") }
            guard let credentials = PasswordCredentials(user: user, password: password) else {
                return try await refuseLogin(tag)
            }
            return try await logIn(tag, await client.verify(.password(credentials), for: .imap))
        case .authenticate(let mechanism, let initialResponse):
            guard client.mayLogIn else { return try await refusePlaintext(tag) }
            guard initialResponse == nil || offered.offers(.saslIR) else {
                return try await fault(tag, "no initial response is taken")
            }
            return try await authenticate(tag, mechanism, initialResponse)
        case .unauthenticate, .select, .examine, .create, .delete, .rename, .subscribe, .unsubscribe, .list, .lsub,
            .status,
            .namespace, .enable, .idle, .compress, .getQuota, .getQuotaRoot, .getACL, .setACL, .deleteACL, .listRights,
            .myRights, .getMetadata, .setMetadata, .check, .close,
            .unselect, .expunge,
            .uidExpunge, .search, .sort, .thread, .multiSearch, .fetch, .store, .copy, .move:
            return try await fault(tag, "log in first")
        }
        respond { $0.status(.ok, tag: tag, "done") }
        return .command
    }

    private func startTLS(_ tag: String) async throws(ConnectionError) -> Next {
        guard client.mayStartTLS else { return try await fault(tag, client.tlsRefusal) }
        var writer = ResponseWriter()
        writer.status(.ok, tag: tag, "begin")
        try await client.startTLS(reply: writer.buffer)
        return .command
    }

    // MARK: Faults

    /// BAD: the client's command is not understood, or not allowed in this state.
    private func fault(_ tag: String?, _ reason: String) async throws(ConnectionError) -> Next {
        try await refuse { $0.status(.bad, tag: tag, reason) }
    }

    private func refusePlaintext(_ tag: String) async throws(ConnectionError) -> Next {
        try await refuse { $0.status(.no, tag: tag, code: .privacyRequired, "use TLS first") }
    }

    private func refuseLogin(_ tag: String) async throws(ConnectionError) -> Next {
        try await refuse { $0.status(.no, tag: tag, code: .authenticationFailed, "wrong user or password") }
    }

    /// Counts the error, and disconnects the client after the last one allowed.
    private func refuse(_ response: (inout ResponseWriter) -> Void) async throws(ConnectionError) -> Next {
        let left = try await client.countFault()
        respond(response)
        guard left > 0 else {
            client.logTooManyFaults()
            respond { $0.status(.bye, "too many errors") }
            return .close
        }
        return .command
    }

    // MARK: Login

    /// AUTHENTICATE (RFC 9051 §6.2.2) with or without an initial response.
    private func authenticate(
        _ tag: String,
        _ mechanism: String,
        _ initialResponse: [UInt8]?
    ) async throws(ConnectionError) -> Next {
        let exchange = try await client.authenticate(
            by: mechanism,
            initialResponse: initialResponse,
            to: .imap,
            maximumLine: Self.maximumResponse
        ) { [self] text in respond { $0.continuation(text) } }
        switch exchange {
        case .judged(let verdict): return try await logIn(tag, verdict)
        case .failed(.unknownMechanism):
            return try await refuse {
                $0.status(.no, tag: tag, code: .cannot, AuthenticationFault.unknownMechanism.text)
            }
        case .failed(let reason): return try await fault(tag, reason.text)
        case .ended: return .close
        }
    }

    private func logIn(_ tag: String, _ verdict: LoginVerdict) async throws(ConnectionError) -> Next {
        let mark = offered.offers(.unauthenticate) ? ReturnMark() : nil
        switch await client.logIn(verdict, by: handover, mark: mark) {
        case .wrong: return try await refuseLogin(tag)
        case .refused(.inUse, let text):
            return try await refuse { $0.status(.no, tag: tag, code: .inUse, text) }
        case .refused, .unavailable:
            return try await refuse {
                $0.status(.no, tag: tag, code: .unavailable, "cannot log in now, try again later")
            }
        case .accepted(let session, _):
            let capabilities = offered.afterLogin(messageLimit: messageLimit)
            respond { $0.status(.ok, tag: tag, code: .capability(capabilities), "logged in") }
            do throws(ConnectionError) {
                try await connection.flush()
            } catch {
                session.abort()
                throw error
            }
            return .relay(session, mark)
        }
    }
}
